"""`manage.py tokens rotate-keys`: everything under the first key, and the proof of it."""

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandError, CommandParser, OutputWrapper

from spotify_auth.encryption import cipher
from spotify_auth.maintenance import key_counts
from spotify_auth.maintenance.key_counts import KeyCounts
from spotify_auth.maintenance.key_rotation import Result, Rotation
from spotify_auth.management.subcommands import Progress, gentle_end

NAMED = 50
"""How many values that no key opens are named one by one."""

_LOST = (
    "No key here opens these values. Put their key back into TOKEN_ENCRYPTION_KEYS, behind the "
    "first, and run this again. If the key is lost, revoke these tokens in the admin: their "
    "users must log in again. Saved grants and logins under way end by themselves, within a "
    "week and within two hours."
)


class RotateKeysCommand:
    """Seal what is not under the first key again, then count what is left."""

    name = "rotate-keys"
    help = (
        "Encrypt every stored value under the first key of TOKEN_ENCRYPTION_KEYS. Workers and "
        "pages may run meanwhile. The exit code is 0 only if no other key is needed any more."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="count the values by key, and change nothing"
        )

    def handle(self, out: OutputWrapper, options: Mapping[str, Any]) -> None:
        before = key_counts.count()
        _show(out, before)
        if options["check"]:
            _conclude(out, before, Result())
            return
        progress = Progress(out, self.name, before.rows_to_do)
        with gentle_end() as stopping, progress.shown():
            result = Rotation(stopping=stopping, progress=progress.advance).run()
        if stopping.is_set():
            raise CommandError("Stopped. What was done is done: run the same command again.")
        after = key_counts.count()
        _show(out, after)
        _conclude(out, after, result)


def _show(out: OutputWrapper, counts: KeyCounts) -> None:
    out.write(f"Values by key. The first key is {cipher().current_head[1:].hex()}.")
    width = max((len(count.place) for count in counts.counts), default=0)
    for count in counts.counts:
        out.write(f"  {count.place:<{width}}  {count.key} ({count.state}) {count.values:>10}")
    if not counts.counts:
        out.write("  nothing is stored")


def _conclude(out: OutputWrapper, counts: KeyCounts, result: Result) -> None:
    """Say that it is done. Raises CommandError if it is not."""
    for value in result.unopened[:NAMED]:
        out.write(f"  user or row {value.primary_key}: {value.reason}")
    if len(result.unopened) > NAMED:
        out.write(f"  and {len(result.unopened) - NAMED} more")
    if not counts.not_first:
        out.write("Done. Every value is under the first key: no other key is needed.")
        return
    values = sum(count.values for count in counts.not_first)
    said = [f"Not done: {values} values are not under the first key."]
    if counts.missing or result.unopened:
        said.append(_LOST)
    if result.held:
        said.append(f"{result.held} rows stayed locked by another session: run this again.")
    if not (counts.missing or result.unopened or result.held):
        said.append(
            "Run `manage.py tokens rotate-keys`. If values are left after that, a process still "
            "has another key first: restart every process with the new TOKEN_ENCRYPTION_KEYS."
        )
    raise CommandError(" ".join(said))
