"""`manage.py tokens after-restore`: what becomes of the tokens of a restored backup."""

from argparse import ArgumentTypeError
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser, OutputWrapper

from spotify_auth.maintenance.restoring import AfterRestore
from spotify_auth.maintenance.survey import Survey, survey
from spotify_auth.management.subcommands import Progress, confirmed, gentle_end


class AfterRestoreCommand:
    """Count, ask, and then ask the users of the backup's tokens to reconnect, or keep these."""

    name = "after-restore"
    help = (
        "Sort out the tokens of a restored backup, before workers start: Spotify may have "
        "replaced them since. Their users are asked to reconnect, and Spotify is not shown them."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--backup-at",
            required=True,
            type=_moment,
            metavar="TIME",
            help="the moment of the backup, with a time zone: 2026-11-26T03:00:00+00:00. Any later "
            "moment before the first login after the restore is right too",
        )
        parser.add_argument(
            "--not-rotated",
            action="store_true",
            help="Spotify has sent no new refresh tokens since the backup: keep the tokens, and "
            "refresh them one after another",
        )
        parser.add_argument("--dry-run", action="store_true", help="count, and change nothing")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, out: OutputWrapper, options: Mapping[str, Any]) -> None:
        backup_at, not_rotated = options["backup_at"], options["not_rotated"]
        found = survey(backup_at, not_rotated=not_rotated)
        if backup_at > found.now:
            raise CommandError(
                f"--backup-at lies in the future: by PostgreSQL's clock it is {found.now}."
            )
        _show(out, found, backup_at, not_rotated=not_rotated)
        if options["dry_run"]:
            out.write("Nothing was changed: this was a dry run.")
            return
        if not (options["yes"] or confirmed("All refreshing pauses meanwhile.")):
            raise CommandError("Nothing was changed. With --yes it is done without a question.")
        total = found.due if not_rotated else found.connected + found.appeals
        progress = Progress(out, self.name, total)
        with gentle_end() as stopping, progress.shown():
            result = AfterRestore(
                backup_at,
                not_rotated=not_rotated,
                spread=found.spread,
                stopping=stopping,
                progress=progress.advance,
            ).run()
        if stopping.is_set() or result.held:
            held = f" {result.held} rows stayed locked by another session." if result.held else ""
            raise CommandError(
                f"Not done.{held} Run the same command again. All refreshing pauses until it is "
                "done, for an hour at most."
            )
        out.write(f"Done. {result.saved} newer grants were stored, {result.changed} rows changed.")


def _moment(text: str) -> datetime:
    """A moment with a time zone. Raises argparse's error, which the command shows."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no time such as {_EXAMPLE}") from None
    if moment.tzinfo is None:
        raise ArgumentTypeError(f"{text} has no time zone: write {_EXAMPLE}, or Z at its end")
    return moment


_EXAMPLE = "2026-11-26T03:00:00+00:00"


def _show(out: OutputWrapper, found: Survey, backup_at: datetime, *, not_rotated: bool) -> None:
    newest = f", the newest of {found.newest_old}" if found.newest_old else ""
    out.write(f"The backup is of {backup_at}. By PostgreSQL's clock it is {found.now}.")
    out.write(f"  {found.connected:>8} users are connected with a token of the backup{newest}")
    if not_rotated:
        out.write(
            f"  {found.due:>8} of these tokens are due: they are spread over {found.spread:.0f} s"
        )
    else:
        out.write("           They will be asked to reconnect. Spotify is not shown these tokens")
        out.write(
            f"  {found.appeals:>8} refusals of the backup would be appealed: they will not be"
        )
    out.write(f"  {found.saved:>8} grants in Redis are newer: they are stored over such tokens")
    if found.unreadable:
        out.write(
            f"  {found.unreadable:>8} grants in Redis cannot be read and will be deleted: put "
            "their key back into TOKEN_ENCRYPTION_KEYS first"
        )
    first = f", the first at {found.oldest_newer}" if found.oldest_newer else ""
    out.write(f"  {found.newer:>8} tokens are newer than the backup and are left alone{first}")
    if found.newer:
        out.write(
            "           If no user has logged in since the restore, and no worker has run, there "
            "are none such: look whether --backup-at is right"
        )
    out.write(
        f"In the last day of the backup {found.rotated} of {found.refreshed} refreshes brought a "
        "new refresh token."
    )
    if found.refreshed and not found.rotated and not not_rotated:
        out.write("So Spotify does not replace them: with --not-rotated these tokens are kept.")
    if found.rotated and not_rotated:
        out.write("So Spotify does replace them: without --not-rotated none is shown to it.")
