"""`make bench`: every part in its turn, a table, and docs/measurements/benchmarks.md.

`python -m dev.bench [--long] [PART …]`. The results of named parts are only printed; the
page is written when all parts have run. `--long` runs the parts that take an hour, side by
side, and writes benchmarks-long.md.
"""

import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from django.core.management import call_command

from benchmarks import report
from benchmarks.peers import environment
from benchmarks.suite import LONG_PARTS, PARTS, Result, run_part


def main(arguments: Sequence[str]) -> None:
    """Run the named parts, or all; only a run of all parts writes a page."""
    options = _options(arguments)
    call_command("migrate", verbosity=0)
    if not options.parts and not options.long:
        environment.install()  # no part of what is measured
    started, load = time.monotonic(), report.load_average()
    results: list[Result] = []
    for result in _run(options):
        results.append(result)
        report.print_rows(result.rows)
    minutes = (time.monotonic() - started) / 60
    facts = [
        *report.machine_facts(),
        f"load average before the run {load}; the run took {minutes:.1f} minutes",
    ]
    print("\n".join(facts))
    if not options.parts:
        print(f"Written to {report.write_page(results, facts=facts, long=options.long)}.")


def _run(options: "_Options") -> Iterable[Result]:
    """The result of each part, as they are measured."""
    if options.parts or not options.long:
        return (run_part(name, long=options.long) for name in options.parts or PARTS)
    # An hour of the one and an hour of the other: the first lets a worker work and the
    # second PostgreSQL, each with a floor that has the same company.
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        return list(pool.map(partial(run_part, long=True), LONG_PARTS))


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
