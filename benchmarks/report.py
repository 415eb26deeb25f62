"""The table on the terminal, and docs/measurements/benchmarks.md with its charts."""

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil
from django.db import connection

from benchmarks.charts import svg
from benchmarks.measurement import Row
from benchmarks.suite import Result
from dev.process import ROOT

DOCS = ROOT / "docs/measurements"
_HEADINGS = ("what", "target", "figure", "floor, same run", "met")
_PACKAGES = ("django", "celery", "psycopg", "requests", "redis", "gunicorn")

_INTRODUCTION = """# Benchmarks

Written by `make bench`; do not edit. Every ratio has its floor measured in the same run, in turns
with the figure, and both are medians of the turns, with these exceptions: each of the stampedes has
one turn; the steady throughput beside the recovery was measured before it; views under ASGI have a
server each; the peers come three at a time. PostgreSQL (which flushes each commit to disk), Redis,
the sandbox Spotify, the worker processes and the measuring itself share the cores named below. A
target that was missed says NO; a dash says that there is none, or that the floor misses it too.
"""
_LONG_INTRODUCTION = """# Benchmarks that take an hour

Written by `make bench ARGS=--long`; do not edit. The other parts are in
[benchmarks.md](benchmarks.md), which explains the columns too. The parts ran side by side.
"""
_REPRODUCE = """
## How to reproduce

```
make bench                           # all parts; writes benchmarks.md
make bench ARGS="claiming reading"   # some parts, printed only
make bench ARGS="--long"             # the parts that take an hour; writes benchmarks-long.md
```

The parts are modules in `benchmarks/`; each says at its top what it measures and how.
"""


def print_rows(rows: Sequence[Row]) -> None:
    """The table as text."""
    table = [_HEADINGS, *map(_cells, rows)]
    widths = [max(len(line[n]) for line in table) for n in range(len(_HEADINGS))]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))
    print(flush=True)


def write_page(parts: Sequence[Result], *, facts: Sequence[str], long: bool) -> Path:
    """Write the page and its charts."""
    suffix = "-long" if long else ""
    page = DOCS / f"benchmarks{suffix}.md"
    introduction = _LONG_INTRODUCTION if long else _INTRODUCTION
    lines = [introduction, *(f"- {fact}" for fact in facts), ""]
    for part in parts:
        lines += [f"## {part.title}", "", f"Took {part.seconds:.0f} s.", ""]
        lines += [_markdown(_HEADINGS), "|---" * len(_HEADINGS) + "|"]
        lines += [_markdown(_cells(row)) for row in part.rows] + [""]
        for chart in (row.chart for row in part.rows if row.chart):
            name = f"bench-{chart.name}{suffix}.svg"
            (DOCS / "images" / name).write_text(svg(chart))
            lines += [f"![{chart.title}](images/{name})", ""]
    page.write_text("\n".join(lines).rstrip() + "\n" + _REPRODUCE)
    return page


def machine_facts() -> list[str]:
    """The facts of this machine that the figures depend on."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        (postgres,) = cursor.fetchone()
    memory = psutil.virtual_memory().total / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return [
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB",
        f"Python {platform.python_version()}, PostgreSQL {postgres}, {packages}",
    ]


def load_average() -> str:
    """How busy the machine has been in the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as facts:
            return next(
                line.split(":")[1].strip() for line in facts if line.startswith("model name")
            )
    except (OSError, StopIteration):
        return platform.machine()


def _cells(row: Row) -> tuple[str, ...]:
    met = {True: "yes", False: "NO", None: "-"}[row.met]
    return (row.what, row.target, row.figure, row.floor, met)


def _markdown(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
