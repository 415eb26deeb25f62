"""The parts of the benchmarks, each run in this process or in a separate one."""

import logging
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import django

from benchmarks.measurement import Row

django.setup()

PARTS = (
    "storage",
    "refreshing",
    "reading",
    "figures",
    "claiming",
    "burst",
    "recovery",
    "footprint",
    "dashboard_data",
    "operations",
    "admin_lists",
    "comparison",
)
"""Modules beside this one, each with a TITLE and `run(*, long: bool) -> list[Row]`."""
LONG_PARTS = ("claiming", "footprint")


def run_part(name: str, *, long: bool) -> list[Row]:
    """Its rows. `long` measures for hours instead of minutes."""
    logging.disable(logging.INFO)  # of this process; workers log as they always do
    print(f"{datetime.now(UTC):%H:%M:%S}  {title_of(name)}", flush=True)
    rows: list[Row] = _module(name).run(long=long)
    return rows


def title_of(name: str) -> str:
    """Its heading."""
    title: str = _module(name).TITLE
    return title


def _module(name: str) -> Any:
    return import_module(f"benchmarks.{name}")
