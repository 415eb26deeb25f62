"""Tables on the pace: each case without one, with the learned one, and with an oracle's."""

import math
from collections.abc import Sequence
from statistics import median

from benchmarks.simulation.formatting import percent, table, time
from benchmarks.simulation.pace.result import Result
from benchmarks.simulation.pace.runs import Cell, Results
from benchmarks.simulation.pace.scenario import Pacing

MOST_TIMES_ORACLE = 1.1
LEAST_USED = 0.95
MOST_REFUSED = 0.01
NO_TIME = 1.0
"""Minutes within which the stale of an instant count as none."""


def recoveries(results: Results, cells: Sequence[Cell]) -> str:
    """How long users were stale, and what of the limit was used; with a verdict for each line."""
    rows = []
    for cell in cells:
        none, learned, oracle = _of(results, cell)
        rows.append(
            [
                cell.name,
                _minutes([run.first_minutes for run in none]),
                _minutes([run.first_minutes for run in learned]),
                _minutes([run.first_minutes for run in oracle]),
                _minutes([run.minutes for run in none]),
                _minutes([run.minutes for run in learned]),
                _minutes([run.minutes for run in oracle]),
                percent(median(run.used for run in learned)),
                _refused(learned),
                ", ".join(misses(learned, oracle)) or "met",
            ]
        )
    heads = ["limit ÷ mean, outage, Retry-After", "first: no pace", "learned", "oracle"]
    heads += ["for good: no pace", "learned", "oracle"]
    return table([*heads, "limit used", "429s", ""], rows)


def misses(learned: Sequence[Result], oracle: Sequence[Result]) -> list[str]:
    """Which of the goals the worst of the runs misses."""
    missed = []
    if any(math.isinf(run.minutes) for run in oracle):
        most = MOST_TIMES_ORACLE * max(run.stale_at_the_end for run in oracle)
        if max(run.stale_at_the_end for run in learned) > most:
            missed.append("MISSED: stale")
    else:
        most = max(NO_TIME, MOST_TIMES_ORACLE * max(run.first_minutes for run in oracle))
        if max(run.first_minutes for run in learned) > most:
            missed.append("MISSED: first")
        most = max(NO_TIME, MOST_TIMES_ORACLE * max(run.minutes for run in oracle))
        if max(run.minutes for run in learned) > most:
            missed.append("MISSED: for good")
    if min(run.used for run in learned) < LEAST_USED:
        missed.append("MISSED: limit used")
    if max(run.refused_share for run in learned) > MOST_REFUSED:
        missed.append("MISSED: 429s")
    return missed


def stale(results: Results, cells: Sequence[Cell]) -> str:
    """How many users are stale in the end, of limits that are too low."""
    rows = []
    for cell in cells:
        runs = _of(results, cell)
        rows.append(
            [
                cell.name,
                *(percent(median(run.stale_at_the_end for run in each)) for each in runs),
                *(time(max(run.longest for run in each)) for each in runs),
            ]
        )
    heads = ["limit ÷ mean, outage, Retry-After", "stale: no pace", "learned pace", "oracle"]
    return table([*heads, "stale for longest: no pace", "learned pace", "oracle"], rows)


def changes(results: Results, cells: Sequence[Cell]) -> str:
    """What the new limit is used for, and what it refuses."""
    rows = []
    for cell in cells:
        none, learned, oracle = _of(results, cell)
        change = cell.case.change
        assert change
        rows.append(
            [
                cell.name,
                *(
                    percent(median(run.stale_after(int(change.at)) for run in each))
                    for each in (none, learned, oracle)
                ),
                _refused(learned),
            ]
        )
    heads = ["limit ÷ mean", "stale since: no pace", "learned pace", "oracle"]
    return table([*heads, "429s"], rows)


def strays(results: Results, cells: Sequence[Cell]) -> str:
    """What a single 429 costs."""
    rows = []
    for cell in cells:
        _, learned, _ = _of(results, cell)
        rows.append(
            [
                cell.name,
                f"{max(max(run.stale) for run in learned):,}",
                f"{max(run.behind_seconds for run in learned)} s",
                f"{min(run.rate_at_the_end or 0 for run in learned):.2f}",
            ]
        )
    heads = ["limit 3 x the mean", "most users stale", "behind", "pace after two hours ÷ mean"]
    return table(heads, rows)


def _of(results: Results, cell: Cell) -> tuple[list[Result], list[Result], list[Result]]:
    none, learned, oracle = (
        [results[case] for case in cell.runs(pacing)]
        for pacing in (Pacing.NONE, Pacing.LEARNED, Pacing.ORACLE)
    )
    return none, learned, oracle


def _minutes(minutes: Sequence[float]) -> str:
    """The median, and the worst if that is another figure."""
    minutes = sorted(minutes)
    middle, worst = (
        "never" if math.isinf(each) else f"{each:.0f}" for each in (median(minutes), minutes[-1])
    )
    return middle if middle == worst else f"{middle} (worst {worst})"


def _refused(runs: Sequence[Result]) -> str:
    middle = sorted(runs, key=lambda run: run.refused)[len(runs) // 2]
    return f"{middle.refused:,}, {percent(middle.refused_share)}"
