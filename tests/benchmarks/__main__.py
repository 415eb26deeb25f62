"""`make bench`: every part in its turn, a table, and the page docs/benchmarks.md.

`python -m local.bench [--long] [PART …]`. Parts that are named are printed only; the page
is written when all of them have run.
"""

import logging
import sys
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from importlib import import_module

import django

django.setup()

from django.core.management import call_command  # noqa: E402  (needs the settings)

from tests.benchmarks import report  # noqa: E402
from tests.benchmarks.rows import Row  # noqa: E402

PARTS = (
    "refreshing",
    "reading",
    "claiming",
    "burst",
    "recovery",
    "footprint",
    "dashboard_data",
    "storage",
    "comparison",
)
"""Modules beside this one, each with a TITLE and `run(*, long: bool) -> list[Row]`."""


def main(arguments: Sequence[str]) -> None:
    """Run the parts that are named, or all; only all of them make a page."""
    options = _options(arguments)
    logging.disable(logging.INFO)  # of this process; workers log as they always do
    call_command("migrate", verbosity=0)
    started, load = time.monotonic(), report.load_average()
    results: dict[str, tuple[str, list[Row]]] = {}
    for name in options.parts or PARTS:
        module = import_module(f"tests.benchmarks.{name}")
        print(f"{module.TITLE} (load average {report.load_average()})")
        results[name] = (module.TITLE, module.run(long=options.long))
        report.print_rows(results[name][1])
    minutes = (time.monotonic() - started) / 60
    facts = [
        *report.machine_facts(),
        f"load average before the run {load}; the run took {minutes:.0f} minutes",
    ]
    print("\n".join(facts))
    if not options.parts:
        report.write_page(results, facts=facts)
        print(f"Written to {report.PAGE}.")


class _Options:
    parts: list[str]
    long: bool


def _options(arguments: Sequence[str]) -> _Options:
    parser = ArgumentParser(prog="make bench", description="The benchmarks.")
    # argparse checks the empty list of `nargs="*"` against the choices too.
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=str(PARTS))
    parser.add_argument("--long", action="store_true", help="hours instead of minutes")
    return parser.parse_args(arguments, namespace=_Options())


if __name__ == "__main__":
    main(sys.argv[1:])
