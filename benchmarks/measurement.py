"""One line of the report: what was measured, beside its target and its floor."""

from dataclasses import dataclass

from benchmarks.charts import Chart


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A figure as it is printed. Ratios are against the floor, measured in the same run."""

    what: str
    target: str
    figure: str
    floor: str = ""
    met: bool | None = None
    """None where there is no target, or where this machine's floor lies beyond it."""
    chart: Chart | None = None


def per_second(value: float) -> str:
    """A rate for the table."""
    return f"{value:.0f}/s"


def micro(seconds: float) -> str:
    """A short time for the table."""
    return f"{seconds * 1e6:.0f} µs"


def milli(seconds: float) -> str:
    """A time for the table."""
    return f"{seconds * 1e3:.2f} ms" if seconds < 0.01 else f"{seconds * 1e3:.0f} ms"
