"""The table of docs/how-to/scale.md is what its formulas make of the measurements."""

import math
import re

import pytest

from config.settings import MOST_DATABASE_CONNECTIONS
from dev.process import ROOT

BENCHMARKS = (ROOT / "docs/measurements/benchmarks.md").read_text()
SECTION = (ROOT / "docs/how-to/scale.md").read_text().split("\n## Capacity\n")[1]
LATENCY, LIFETIME, THREADS, DAY = 0.2, 3600, 64, 86400
NEAR = pytest.approx
SHARE = 0.2
"""How far the page's rounded figures may be from those of the latest measurements."""


def measured(row: str) -> float:
    """The number that a row of the benchmarks begins with."""
    return measured_first(row)[1]


def measured_first(row: str) -> tuple[str, float]:
    """The whole name of the first row that begins like this, and its number."""
    row = re.escape(row)
    found = re.search(rf"^\| ({row}[^|]*?) \|[^|]*\| ([\d.]+)", BENCHMARKS, re.MULTILINE)
    assert found
    return found[1], float(found[2])


CPU = measured("a refresh, worker's CPU, with its line in the log") * 1e-6
TOKEN = measured("a token with its indexes, freshly packed")
GROWTH = measured("growth in a day, of a million users, before pruning") * 1e9 / 1e6
HISTORY = measured("the whole history of a million users, dead rows included") * 1e9 / 1e6
WAL = (
    measured("WAL of one refresh, every page written"),
    measured("WAL of one refresh, no page written"),
)
(REDIS,) = [float(text) for text in re.findall(r"(\d+) bytes in Redis, for a minute", SECTION)]


def rows() -> list[list[str]]:
    table = SECTION.split("\n\n")[1].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def size(text: str) -> float:
    """Bytes."""
    number, unit = text.split()
    return float(number) * {"MB": 1e6, "GB": 1e9}[unit]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_a_row_is_what_the_measurements_make_of_it(row: list[str]) -> None:
    users = int(row[0].replace(",", ""))
    refreshes = users / (0.75 * LIFETIME)
    lanes = math.ceil(2 * refreshes * LATENCY)
    processes = max(math.ceil(lanes / THREADS), math.ceil(2 * refreshes * CPU))
    least, most = re.fullmatch(r"([\d.]+) to ([\d.]+) GB", row[9]).groups()  # type: ignore[union-attr]

    assert float(row[1]) == NEAR(refreshes, rel=0.01)
    assert [int(cell) for cell in row[2:4]] == [lanes, processes]
    assert float(row[4]) == NEAR(refreshes * CPU, rel=SHARE)
    assert int(row[5]) == MOST_DATABASE_CONNECTIONS + (processes - 1) * (THREADS + 1)
    assert size(row[6]) == NEAR(users * TOKEN, rel=SHARE)
    assert size(row[7]) == NEAR(users * GROWTH, rel=SHARE)
    assert size(row[8]) == NEAR(users * HISTORY, rel=SHARE)
    for cell, each in zip((least, most), WAL, strict=True):
        assert float(cell) * 1e9 == NEAR(refreshes * DAY * each, rel=SHARE)
    assert size(row[10]) == NEAR(1e6 + refreshes * 60 * REDIS, rel=SHARE)


def test_the_figures_in_words_are_those_of_the_measurements() -> None:
    one = measured("refreshes, one worker, 64 lanes")
    name, two = measured_first("refreshes, 2 workers")
    lanes = name.removeprefix("refreshes, 2 workers, ")

    assert f"carried {one:.0f}\nrefreshes a second, two with {lanes} {two:.0f}" in SECTION
    assert f"({CPU * 1000:.1f} ms)" in SECTION
