"""`manage.py tokens prune`: delete old history now."""

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandError, CommandParser, OutputWrapper

from spotify_auth import housekeeping
from spotify_auth.conf import settings
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
            help="by default TOKEN_EVENT_RETENTION_DAYS",
        )
        parser.add_argument("--no-input", action="store_true", help="do not ask")

    def handle(self, out: OutputWrapper, options: Mapping[str, Any]) -> None:
        days = options["older_than"]
        if days is None:
            days = settings.TOKEN_EVENT_RETENTION_DAYS
        if days < 1:
            raise CommandError("--older-than must be a day or more.", returncode=2)
        total = housekeeping.old_events(older_than=days).count()
        if not total:
            out.write(f"No event is older than {days} days.")
            return
        confirm(options, f"{total} events that are older than {days} days are deleted.")
        progress, deleted, some = Progress(out, self.name, total), 0, housekeeping.AT_ONCE
        with gentle_end() as stopping, progress.shown():
            while some == housekeeping.AT_ONCE and not stopping.is_set():
                some = housekeeping.delete_old_events(older_than=days)
                deleted += some
                progress.advance(some)
        if stopping.is_set():
            raise CommandError(f"Stopped. {deleted} events are deleted.", returncode=PARTLY)
        out.write(f"Done. {deleted} events are deleted.")
