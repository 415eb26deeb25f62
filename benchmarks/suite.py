"""The parts of the benchmarks, each run in this process or in a separate one."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import django

from benchmarks.measurement import Row

django.setup()

PARTS = (
    "storage",
    "history",
    "refreshing",
    "reading",
    "figures",
    "claiming",
    "burst",
    "recovery",
    "pace",
    "footprint",
    "dashboard_data",
    "operations",
    "admin_lists",
    "comparison",
)
"""Modules beside this one, each with a TITLE and `run(*, long: bool) -> list[Row]`."""
LONG_PARTS = ("claiming", "footprint", "history")


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What one part has measured, and how many seconds it took."""

    title: str
    rows: Sequence[Row]
    seconds: float


def run_part(name: str, *, long: bool) -> Result:
    """Measure one part. `long` measures for hours instead of minutes."""
    logging.disable(logging.INFO)  # of this process; workers log as they always do
    print(f"{datetime.now(UTC):%H:%M:%S}  {title_of(name)}", flush=True)
    started = time.monotonic()
    rows: list[Row] = _module(name).run(long=long)
    return Result(title=title_of(name), rows=rows, seconds=time.monotonic() - started)


def title_of(name: str) -> str:
    """Its heading."""
    title: str = _module(name).TITLE
    return title


def _module(name: str) -> Any:
    return import_module(f"benchmarks.{name}")
