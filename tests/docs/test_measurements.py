"""docs/measurements/: the pages are what their generators would write, but for the figures."""

import re

import pytest

from benchmarks import report, suite
from benchmarks.simulation.__main__ import PAGE
from dev.process import ROOT

MEASUREMENTS = ROOT / "docs/measurements"


def test_the_simulation_has_the_text_of_its_template() -> None:
    pieces = re.split(r"\$\w+", PAGE.read_text())
    pattern = ".*?".join(map(re.escape, pieces))

    assert re.fullmatch(pattern, (MEASUREMENTS / "simulation.md").read_text(), re.DOTALL)


@pytest.mark.parametrize(
    ("page", "introduction", "parts"),
    [
        ("benchmarks.md", report._INTRODUCTION, suite.PARTS),
        ("benchmarks-long.md", report._LONG_INTRODUCTION, suite.LONG_PARTS),
    ],
)
def test_the_benchmarks_have_the_text_around_their_figures(
    page: str, introduction: str, parts: tuple[str, ...]
) -> None:
    text = (MEASUREMENTS / page).read_text()

    assert text.startswith(introduction)
    assert text.endswith(report._REPRODUCE)
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [
        *map(suite.title_of, parts),
        "How to reproduce",
    ]
