"""`manage.py doctor`: a line for each thing that must be right, and what to do if it is not."""

import json
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.management.color import Style

from spotify_auth.doctor.examination import all_checks, examine
from spotify_auth.doctor.findings import Check, Finding, Level
from spotify_auth.management.pipes import reader_may_leave

_WIDEST = 100
_WORDS = {Level.PROBLEM: "Problems", Level.WARNING: "Warnings"}


class Command(BaseCommand):
    help = (
        "Look at settings, servers, workers, keys and Spotify, and say what is wrong and what to "
        "do. Changes nothing. The exit code is 1 if there is a problem."
    )
    requires_system_checks = []  # they are among the checks, and stop none of the others

    def add_arguments(self, parser: CommandParser) -> None:
        names = [check.name for check in all_checks()]
        parser.add_argument("--json", action="store_true", help="write JSON, for programs")
        parser.add_argument("--quiet", action="store_true", help="show only what is not ok")
        parser.add_argument(
            "--strict", action="store_true", help="exit code 1 for warnings as well"
        )
        parser.add_argument("--offline", action="store_true", help="ask nothing of Spotify")
        for option, default, text in (
            ("--only", None, "only this check; may be repeated"),
            ("--skip", [], "not this check; may be repeated"),
        ):
            parser.add_argument(
                option, action="append", choices=names, default=default, metavar="NAME", help=text
            )

    def handle(self, *args: Any, **options: Any) -> None:
        """Raises SystemExit with 1 if something is wrong, CommandError if nothing is looked at."""
        checks = _chosen(options)
        if not checks:
            said = "--only, --skip and --offline leave no check."
            raise CommandError(said, returncode=2)
        with reader_may_leave(self.stdout):
            self._examine(checks, options)

    def _examine(self, checks: list[Check], options: dict[str, Any]) -> None:
        levels: Counter[Level] = Counter()
        lines = []
        for check in checks:
            for finding in examine(check):
                levels[finding.level] += 1
                if options["quiet"] and finding.level == Level.OK:
                    continue
                lines.append((check.name, finding))
                if not options["json"]:  # each as it is found: some take a while
                    self._show(check.name, finding, everything=options["verbosity"] > 1)
        if options["json"]:
            found = [_as_json(name, finding) for name, finding in lines]
            self.stdout.write(json.dumps({"ok": not levels[Level.PROBLEM], "findings": found}))
        elif not options["quiet"]:
            self.stdout.write(_summary(levels))
        if levels[Level.PROBLEM] or (options["strict"] and levels[Level.WARNING]):
            sys.exit(1)

    def _show(self, name: str, finding: Finding, *, everything: bool) -> None:
        for line in _lines(name, finding, self.style, everything=everything):
            self.stdout.write(line)
        self.stdout.flush()


def _chosen(options: dict[str, Any]) -> list[Check]:
    return [
        check
        for check in all_checks()
        if (not options["only"] or check.name in options["only"])
        and check.name not in options["skip"]
        and not (options["offline"] and check.asks_spotify)
    ]


def _summary(levels: Counter[Level]) -> str:
    said = [f"{word}: {levels[level]}" for level, word in _WORDS.items() if levels[level]]
    return f"\n{', '.join(said) or 'All is well'}."


def _lines(name: str, finding: Finding, style: Style, *, everything: bool) -> Iterator[str]:
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    word = f"{finding.level:<8}"
    colour = {Level.OK: style.SUCCESS, Level.WARNING: style.WARNING, Level.PROBLEM: style.ERROR}
    indent = " " * 22
    whole = textwrap.wrap(
        finding.found,
        width,
        initial_indent=f"{word} {name:<12} ",
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    yield whole[0].replace(word, colour[finding.level](word), 1)
    yield from whole[1:]
    if finding.advice:
        yield from textwrap.wrap(
            finding.advice,
            width,
            initial_indent=f"{indent}-> ",
            subsequent_indent=f"{indent}   ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    shown = {**finding.facts, **(finding.more if everything else {})}
    for fact, value in shown.items():
        yield f"{indent}{fact}={value}"


def _as_json(name: str, finding: Finding) -> dict[str, Any]:
    return {
        "check": name,
        "level": finding.level,
        "found": finding.found,
        "advice": finding.advice,
        "facts": {**finding.facts, **finding.more},
    }
