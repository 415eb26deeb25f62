"""`manage.py tokens import`: tokens of another library, or of a table, move here."""

import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser, OutputWrapper

from spotify_auth.importing import canary, spreading
from spotify_auth.importing.report import Report
from spotify_auth.importing.run import Import
from spotify_auth.importing.source import PATTERN, SESSION_KEY, Choices, Refused, Source
from spotify_auth.importing.sources import SOURCES
from spotify_auth.management.subcommands import Progress, gentle_end, silent
from spotify_auth.management.transfers import conclude


class ImportCommand:
    """Rehearse, or move: five first, the rest when these were refreshed."""

    name = "import"
    help = (
        "Move tokens here that another library or a table has kept. Without --apply it is a "
        "rehearsal: it says what would be moved, and changes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--from", dest="source", required=True, choices=list(SOURCES), help="what has kept them"
        )
        parser.add_argument(
            "--apply",
            action="store_true",
            help="move them: here they are kept, there they are erased",
        )
        parser.add_argument(
            "--client-id",
            metavar="ID",
            help="the application that the tokens were granted to. allauth and social-auth know "
            "it; for the others it must be given",
        )
        parser.add_argument("--file", metavar="PATH", help="csv: the file; - is the standard input")
        parser.add_argument(
            "--directory",
            metavar="PATH",
            help="spotipy-cache: where the files are; by default here",
        )
        parser.add_argument(
            "--pattern",
            default=PATTERN,
            help='spotipy-cache: the names of the files (".cache-{user}")',
        )
        parser.add_argument(
            "--user-field",
            metavar="FIELD",
            help="csv, spotipy-cache: the field of the user model by which users are named. By "
            "default the primary key, and for spotipy-cache the username",
        )
        parser.add_argument(
            "--session-key",
            default=SESSION_KEY,
            metavar="KEY",
            help="spotipy-sessions: the key in the session (token_info)",
        )
        parser.add_argument(
            "--spread",
            type=float,
            default=spreading.DEFAULT_MINUTES,
            metavar="MINUTES",
            help="refresh what has expired over this long (10)",
        )
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, out: OutputWrapper, options: Mapping[str, Any]) -> None:
        spread = options["spread"]
        if not 0 <= spread <= spreading.LONGEST_MINUTES:
            raise CommandError(
                f"--spread must be from 0 to {spreading.LONGEST_MINUTES:g} minutes.", returncode=2
            )
        source = SOURCES[options["source"]](_choices(options))
        say: Callable[[str], None] = silent if options["json"] else out.write
        report = Report(source=source.name, applied=options["apply"], say=say)
        try:
            source.open()
            with gentle_end() as stopping:
                _run(source, report, out, options, stopping, say)
        except Refused as refused:
            report.ended = str(refused)
        _conclude(out, report, as_json=options["json"])


def _run(
    source: Source,
    report: Report,
    out: OutputWrapper,
    options: Mapping[str, Any],
    stopping: threading.Event,
    say: Callable[[str], None],
) -> None:
    if options["apply"]:
        canary.refuse_unless_tokens_are_refreshed()
    progress = Progress(out, ImportCommand.name, source.total() or 0)
    job = Import(
        source,
        report,
        spread=timedelta(minutes=options["spread"]),
        stopping=stopping,
        progress=silent if options["json"] else progress.advance,
        say=say,
    )
    go = job.apply if options["apply"] else job.rehearse
    if options["json"]:
        go()
        return
    with progress.shown():
        go()


def _choices(options: Mapping[str, Any]) -> Choices:
    """Raises CommandError for options that do not go together."""
    name = options["source"]
    if (name == "csv") != (options["file"] is not None):
        raise CommandError(
            "--file goes with --from csv, which needs it: a path, or - for the standard input.",
            returncode=2,
        )
    if options["directory"] is not None and name != "spotipy-cache":
        raise CommandError("--directory goes with --from spotipy-cache.", returncode=2)
    path = options["directory"] if name == "spotipy-cache" else options["file"]
    return Choices(
        client_id=options["client_id"],
        path=None if path in {None, "-"} else Path(path),
        user_field=options["user_field"],
        pattern=options["pattern"],
        session_key=options["session_key"],
    )


def _conclude(out: OutputWrapper, report: Report, *, as_json: bool) -> None:
    bad = f"{report.bad + report.busy} could not be moved."
    if not report.applied:
        bad = f"{report.bad} could not be moved. Nothing was changed: this was a rehearsal."
    conclude(
        out,
        report,
        as_json=as_json,
        moved="moved",
        stopped="What was moved is moved",
        incomplete="" if report.is_whole else bad,
    )
