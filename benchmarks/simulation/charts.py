"""A line chart as SVG, with nothing but text: readable on light and on dark pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 760, 340
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 64, 44
# Okabe and Ito's colours, which colour-blind readers can tell apart; dashes for the others.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00")
DASHES = ("", "7 3", "2 3", "10 3 2 3", "4 4")
STYLE = """
.page { fill: #ffffff } text { font: 12px sans-serif; fill: #24292f } .title { font-weight: 600 }
.grid { stroke: #d0d7de; stroke-width: 1 } .line { fill: none; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
  .page { fill: #0d1117 } text { fill: #e6edf3 } .grid { stroke: #3d444d }
  .line { filter: brightness(1.45) }
}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One series: points from left to right."""

    name: str
    points: Sequence[tuple[float, float]]


def line_chart(
    title: str, *, lines: Sequence[Line], across: str, up: str, step: float, highest: float = 0.0
) -> str:
    """The chart as an SVG document. `step` is the distance of the marks on the x axis.

    The y axis starts at zero and ends at `highest`, or at the highest point.
    """
    xs = [x for line in lines for x, _ in line.points]
    first, last = min(xs), max(xs)
    top = highest or _round_up(max(y for line in lines for _, y in line.points))

    def place(x: float, y: float) -> tuple[float, float]:
        across_share = (x - first) / (last - first)
        return (
            LEFT + across_share * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - min(y / top, 1.0) * (HEIGHT - TOP - BOTTOM),
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{HEIGHT}" rx="6"/>',
        f'<text class="title" x="{LEFT}" y="20">{escape(title)}</text>',
    ]
    for quarter in range(5):
        value = top * quarter / 4
        _, y = place(first, value)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:,.4g}</text>')
    mark = first
    while mark <= last + step / 100:
        x, y = place(mark, 0)
        parts.append(f'<text x="{x:.1f}" y="{y + 17:.1f}" text-anchor="middle">{mark:,.4g}</text>')
        mark += step
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{escape(across)}</text>'
    )
    parts.append(f'<text x="{WIDTH - RIGHT}" y="20" text-anchor="end">{escape(up)}</text>')
    room = (WIDTH - LEFT - RIGHT) / len(lines)
    for number, line in enumerate(lines):
        ink = f'stroke="{COLOURS[number]}" stroke-dasharray="{DASHES[number]}"'
        x = LEFT + number * room
        parts.append(f'<line class="line" x1="{x:.1f}" x2="{x + 28:.1f}" y1="42" y2="42" {ink}/>')
        parts.append(f'<text x="{x + 34:.1f}" y="46">{escape(line.name)}</text>')
        path = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in line.points)
        parts.append(f'<polyline class="line" points="{path}" {ink}/>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _round_up(value: float) -> float:
    """The next number that reads well and can be cut in four."""
    size = 10.0 ** (len(str(int(value))) - 1) if value >= 1 else 0.1
    return next(m * size for m in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10) if m * size >= value)
