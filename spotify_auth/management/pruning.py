"""`manage.py tokens prune`: delete old history now."""

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandError, CommandParser, OutputWrapper

from spotify_auth.conf import settings
from spotify_auth.figures import roll_up
from spotify_auth.history import pruning
from spotify_auth.management.acting import PARTLY, confirm
from spotify_auth.management.subcommands import Progress, gentle_end


class PruneCommand:
    """Delete old events, in batches."""

    name = "prune"
    help = (
        "Delete the history that is too old, as house-keeping does every hour, now. Workers and "
        "pages may run meanwhile."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than",
            type=int,
            metavar="DAYS",
            help="of all events, instead of TOKEN_EVENT_RETENTION_DAYS and, for routine "
            "successes, ROUTINE_EVENT_RETENTION_DAYS",
        )
        parser.add_argument("--no-input", action="store_true", help="do not ask")

    def handle(self, out: OutputWrapper, options: Mapping[str, Any]) -> None:
        days = options["older_than"]
        if days is not None and not 1 <= days <= pruning.MOST_DAYS:
            raise CommandError(
                f"--older-than must be a day or more, and {pruning.MOST_DAYS} at most.",
                returncode=2,
            )
        roll_up.roll_up()  # only what is counted is deleted
        total = pruning.count_old(older_than=days)
        if not total:
            out.write(f"No event is {_age(days)}.")
            return
        confirm(options, f"{total} events that are {_age(days)} are deleted.")
        progress, deleted = Progress(out, self.name, total), 0
        with gentle_end() as stopping, progress.shown():
            for part in pruning.PARTS:
                more = True
                while more and not stopping.is_set():
                    some, more = pruning.prune_some(part, older_than=days)
                    deleted += some
                    progress.advance(some)
        if stopping.is_set():
            raise CommandError(f"Stopped. {deleted} events are deleted.", returncode=PARTLY)
        out.write(f"Done. {deleted} events are deleted.")


def _age(days: int | None) -> str:
    if days is not None:
        return f"older than {days} days"
    return (
        f"older than {settings.TOKEN_EVENT_RETENTION_DAYS} days, or routine and older than "
        f"{settings.ROUTINE_EVENT_RETENTION_DAYS} days"
    )
