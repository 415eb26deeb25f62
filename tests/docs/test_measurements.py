"""docs/measurements/: the pages are what their generators would write, but for the figures."""

import re
from pathlib import Path

import pytest

from benchmarks import report, suite
from benchmarks.simulation.pages import PACE, REFUSALS, SCHEDULE
from dev.process import ROOT

MEASUREMENTS = ROOT / "docs/measurements"


@pytest.mark.parametrize(
    ("page", "template"),
    [
        ("simulation.md", SCHEDULE),
        ("simulation-refusals.md", REFUSALS),
        ("simulation-pace.md", PACE),
    ],
)
def test_the_simulations_have_the_text_of_their_templates(page: str, template: Path) -> None:
    pieces = re.split(r"\$\w+", template.read_text())
    pattern = ".*?".join(map(re.escape, pieces))

    assert re.fullmatch(pattern, (MEASUREMENTS / page).read_text(), re.DOTALL)


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
