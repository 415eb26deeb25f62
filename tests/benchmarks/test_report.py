"""The report: what is written, and when. The figures themselves are `make bench`'s."""

import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from benchmarks import __main__ as bench
from benchmarks import report, suite
from benchmarks.charts import Chart, svg
from benchmarks.measurement import Row
from benchmarks.peers import environment

pytestmark = pytest.mark.django_db

CHART = Chart(
    name="things",
    title="Things & others",
    unit="per second",
    labels=["few", "many"],
    series={"bare": [1, 30], "ours": [2, 25.5]},
    limit=40,
    limit_name="target",
)
ROW = Row(what="a thing", target="at most 2", figure="3", floor="1", met=False, chart=CHART)


@pytest.fixture(autouse=True)
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A page and pictures elsewhere than in the docs, and parts that take no time."""
    monkeypatch.setattr(report, "DOCS", tmp_path)
    (tmp_path / "images").mkdir()
    monkeypatch.setattr(environment, "install", lambda: None)
    part = SimpleNamespace(TITLE="A part", run=lambda *, long: [ROW])
    monkeypatch.setattr(suite, "import_module", lambda name: part)
    yield tmp_path / "benchmarks.md"
    logging.disable(logging.NOTSET)


def test_a_run_of_all_parts_writes_the_page(page: Path) -> None:
    bench.main([])

    text = page.read_text()
    assert text.count("## A part") == len(suite.PARTS)
    assert "| a thing | at most 2 | 3 | 1 | NO |" in text
    assert (page.parent / "images" / "bench-things.svg").exists()


def test_the_long_parts_have_a_page_of_their_own(page: Path) -> None:
    part = suite.Result(title="A part", rows=[ROW], seconds=59.7)
    report.write_page([part], facts=["two cores"], long=True)

    text = page.with_name("benchmarks-long.md").read_text()
    assert "- two cores\n" in text
    assert "## A part\n\nTook 60 s.\n\n| what |" in text
    assert (page.parent / "images" / "bench-things-long.svg").exists()
    assert not page.exists()


def test_a_run_of_one_part_leaves_the_page_as_it_is(page: Path) -> None:
    page.write_text("the whole report")

    bench.main([suite.PARTS[0]])

    assert page.read_text() == "the whole report"


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main(["nothing"])

    assert "nothing" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["bars", "lines"])
def test_a_chart_names_all_that_it_shows(kind: str) -> None:
    drawn = svg(
        Chart(
            name=CHART.name,
            title=CHART.title,
            unit=CHART.unit,
            labels=CHART.labels,
            series=CHART.series,
            kind=kind,
        )
    )

    texts = [element.text for element in ElementTree.fromstring(drawn).iter()]  # noqa: S314  (our own)
    assert {"Things & others", "per second", "few", "many", "bare", "ours"} <= set(texts)
    assert "bare: few 1, many 30; ours: few 2, many 25.5" in texts
    assert "prefers-color-scheme: dark" in drawn


def test_a_bar_is_as_high_as_its_value() -> None:
    drawn = ElementTree.fromstring(svg(CHART))  # noqa: S314  (our own)

    bars = [
        float(element.attrib["height"])
        for element in drawn.iter("{http://www.w3.org/2000/svg}rect")
        if element.attrib["class"] == "f0" and element.attrib["height"] != "12"
    ]
    assert bars[1] / bars[0] == pytest.approx(30, rel=0.02)
