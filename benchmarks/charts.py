"""Bar and line charts as SVG that is readable on a light and on a dark page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 720, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 64, 48
_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600; font-size: 15px }
  .grid { stroke: #d0d7de } .limit { stroke: #cf222e; stroke-dasharray: 5 4 }
  .f0 { fill: #0969da } .f1 { fill: #bc4c00 } .f2 { fill: #8250df }
  .s0 { stroke: #0969da } .s1 { stroke: #bc4c00 } .s2 { stroke: #8250df }
  polyline { fill: none; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .grid { stroke: #3d444d } .limit { stroke: #ff7b72 }
    .f0 { fill: #58a6ff } .f1 { fill: #f0883e } .f2 { fill: #bc8cff }
    .s0 { stroke: #58a6ff } .s1 { stroke: #f0883e } .s2 { stroke: #bc8cff }
  }
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """The contents of a chart. `name` is its file's, `labels` name the places on the x axis.

    Each series has one value a label. Bars stand side by side; lines join their values.
    """

    name: str
    title: str
    unit: str
    labels: Sequence[str]
    series: Mapping[str, Sequence[float]]
    kind: str = "bars"
    limit: float | None = None
    limit_name: str = ""
    x_name: str = field(default="")


def svg(chart: Chart) -> str:
    """The picture, with its title and its figures as a description for screen readers."""
    highest = max([chart.limit or 0, *(v for values in chart.series.values() for v in values)])
    step = _nice_step(highest)
    top = step * -(-highest // step) or step
    marks = _bars(chart, top) if chart.kind == "bars" else _lines(chart, top)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
            f"<title>{escape(chart.title)}</title><desc>{escape(_in_words(chart))}</desc>",
            f"<style>{_STYLE}</style>",
            f'<text class="title" x="{_LEFT}" y="22">{escape(chart.title)}</text>',
            *_legend(chart),
            *_grid(chart, top, step),
            *marks,
            *_limit(chart, top),
            *_x_labels(chart),
            "</svg>\n",
        ]
    )


def _nice_step(highest: float) -> float:
    step = 10.0 ** (len(str(int(highest or 1))) - 1)
    while highest / step < 3:
        step /= 2
    return step


def _y(value: float, top: float) -> float:
    return _HEIGHT - _BOTTOM - value / top * (_HEIGHT - _TOP - _BOTTOM)


def _x(place: float, places: int) -> float:
    """The middle of one of the places on the x axis."""
    return _LEFT + (place + 0.5) / places * (_WIDTH - _LEFT - _RIGHT)


def _bars(chart: Chart, top: float) -> list[str]:
    places, count = len(chart.labels), len(chart.series)
    width = (_WIDTH - _LEFT - _RIGHT) / places * 0.8 / count
    marks = []
    for n, values in enumerate(chart.series.values()):
        for place, value in enumerate(values):
            x, y = _x(place, places) + (n - count / 2) * width, _y(value, top)
            height = _HEIGHT - _BOTTOM - y
            marks.append(
                f'<rect class="f{n}" x="{x:.1f}" y="{y:.1f}" '
                f'width="{width * 0.92:.1f}" height="{height:.1f}"/>'
            )
            if places * count <= 16:
                marks.append(
                    f'<text x="{x + width * 0.46:.1f}" y="{y - 4:.1f}" '
                    f'text-anchor="middle">{value:.3g}</text>'
                )
    return marks


def _lines(chart: Chart, top: float) -> list[str]:
    places = len(chart.labels)
    return [
        '<polyline class="s{}" points="{}"/>'.format(
            n, " ".join(f"{_x(x, places):.1f},{_y(value, top):.1f}" for x, value in enumerate(ys))
        )
        for n, ys in enumerate(chart.series.values())
    ]


def _legend(chart: Chart) -> list[str]:
    marks, x = [], _LEFT
    for n, name in enumerate(chart.series):
        marks.append(f'<rect class="f{n}" x="{x}" y="34" width="12" height="12"/>')
        marks.append(f'<text x="{x + 18}" y="45">{escape(name)}</text>')
        x += 40 + 8 * len(name)
    return marks


def _grid(chart: Chart, top: float, step: float) -> list[str]:
    marks = []
    for n in range(round(top / step) + 1):
        y = _y(n * step, top)
        marks.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        marks.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{n * step:g}</text>')
    marks.append(
        f'<text x="{_WIDTH - _RIGHT}" y="22" text-anchor="end">{escape(chart.unit)}</text>'
    )
    return marks


def _limit(chart: Chart, top: float) -> list[str]:
    if chart.limit is None:
        return []
    y = _y(chart.limit, top)
    return [
        f'<line class="limit" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>',
        f'<text x="{_WIDTH - _RIGHT}" y="{y - 5:.1f}" text-anchor="end">'
        f"{escape(chart.limit_name)}</text>",
    ]


def _x_labels(chart: Chart) -> list[str]:
    places = len(chart.labels)
    every = -(-places // 12)
    marks = [
        f'<text x="{_x(n, places):.1f}" y="{_HEIGHT - _BOTTOM + 18}" '
        f'text-anchor="middle">{escape(label)}</text>'
        for n, label in enumerate(chart.labels)
        if n % every == 0
    ]
    marks.append(
        f'<text x="{(_LEFT + _WIDTH) / 2}" y="{_HEIGHT - 8}" text-anchor="middle">'
        f"{escape(chart.x_name)}</text>"
    )
    return marks


def _in_words(chart: Chart) -> str:
    return "; ".join(
        f"{name}: " + ", ".join(f"{x} {y:.3g}" for x, y in zip(chart.labels, ys, strict=True))
        for name, ys in chart.series.items()
    )
