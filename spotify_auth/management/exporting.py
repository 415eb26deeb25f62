"""`manage.py tokens export`: tokens go back to where they came from, or into a file."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser, OutputWrapper

from spotify_auth.exporting.allauth import AllauthDestination
from spotify_auth.exporting.csv_file import CsvDestination
from spotify_auth.exporting.destination import Destination
from spotify_auth.exporting.run import Export, Report
from spotify_auth.exporting.social_auth import SocialAuthDestination
from spotify_auth.importing.source import Refused
from spotify_auth.management import people
from spotify_auth.management.subcommands import Progress, gentle_end, silent
from spotify_auth.management.transfers import conclude

_TABLES: Mapping[str, Callable[[], Destination]] = {
    "allauth": AllauthDestination,
    "social-auth": SocialAuthDestination,
}


class ExportCommand:
    """Rehearse, or hand over."""

    name = "export"
    help = (
        "Hand tokens to another keeper: the way back from an import. They are kept here no "
        "longer. Without --apply it is a rehearsal, which changes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "users", nargs="*", metavar="USER", help=f"{people.USER_HELP}. Without: everybody"
        )
        parser.add_argument(
            "--to",
            dest="destination",
            required=True,
            choices=[*_TABLES, "csv"],
            help="who has them",
        )
        parser.add_argument(
            "--file",
            metavar="PATH",
            help="csv: a new file, for your eyes alone, or one that an export has begun",
        )
        parser.add_argument(
            "--apply", action="store_true", help="hand them over, and erase them here"
        )
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, out: OutputWrapper, options: Mapping[str, Any]) -> None:
        as_json, applied = options["json"], options["apply"]
        destination = _destination(options)
        users = [people.find(text) for text in options["users"]]
        say: Callable[[str], None] = silent if as_json else out.write
        report = Report(destination=destination.name, applied=applied, say=say)
        try:
            destination.open()
            with gentle_end() as stopping:
                job = Export(destination, report, users=users, stopping=stopping)
                go = job.apply if applied else job.rehearse
                if as_json:
                    go(silent)
                else:
                    progress = Progress(out, self.name, job.total())
                    with progress.shown():
                        go(progress.advance)
        except Refused as refused:
            report.ended = str(refused)
        _conclude(out, report, as_json=as_json)


def _destination(options: Mapping[str, Any]) -> Destination:
    """Raises CommandError for options that do not go together."""
    is_file = options["destination"] == "csv"
    if is_file != (options["file"] is not None):
        raise CommandError("--file goes with --to csv, which needs it.", returncode=2)
    if is_file:
        return CsvDestination(Path(options["file"]))
    return _TABLES[options["destination"]]()


def _conclude(out: OutputWrapper, report: Report, *, as_json: bool) -> None:
    busy = f" {report.busy} are being refreshed: run the same command again."
    bad = f"{report.not_possible} cannot be handed over.{busy if report.busy else ''}"
    conclude(
        out,
        report,
        as_json=as_json,
        moved="handed over",
        stopped="What was handed over is",
        incomplete=bad if report.not_possible or report.busy else "",
    )
