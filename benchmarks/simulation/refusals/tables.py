"""Tables on refusals: who is condemned, who is stale, who waits, and how often Spotify is asked."""

from array import array
from collections.abc import Callable, Iterator, Sequence
from statistics import median

from benchmarks.simulation.formatting import number, percent, table, time
from benchmarks.simulation.refusals import runs
from benchmarks.simulation.refusals.result import Result
from benchmarks.simulation.refusals.scenario import Fault

Simulate = Callable[[Fault], Result]


def lies(simulate: Simulate, *, duration: str, sizes: Sequence[int]) -> str:
    """False refusals of one duration: a line for each share, a figure for each size."""
    by_size = [runs.lies(duration, users) for users in sizes]
    rows = []
    for faults in zip(*by_size, strict=True):
        results = [simulate(fault) for fault in faults]
        calls = [result.calls_a_second() for result in results]
        rows.append(
            [
                faults[0].name,
                _each(f"{len(result.wrongly_condemned):,}" for result in results),
                _each(_longest(result.wrongly_condemned) for result in results),
                _each(f"{len(result.healthy_stale):,}" for result in results),
                _each(f"{len(result.refused_stale):,}" for result in results),
                _each(_longest(result.stale_after_the_end) for result in results),
                _each(number(mean) for mean, _ in calls),
                _each(number(peak) for _, peak in calls),
            ]
        )
    heads = ["refused falsely", "condemned wrongly", "until active again, longest"]
    heads += ["healthy stale", "refused and stale", "stale after the end, longest"]
    return table([*heads, "calls/s, mean", "calls/s, peak"], rows)


def truths(simulate: Simulate, *, sizes: Sequence[int]) -> str:
    """True mass refusals: a line for each size and kind."""
    rows = []
    for users in sizes:
        for fault in runs.truths(users):
            result = simulate(fault)
            mean, peak = result.calls_a_second()
            rows.append(
                [
                    f"{users:,}, {fault.name}",
                    f"{result.dead:,}",
                    f"{len(result.healthy_stale):,}",
                    time(result.least_left),
                    _median_and_longest(result.button),
                    _median_and_longest(result.verdict),
                    str(result.never_told),
                    f"{number(fault.needs)} / {number(mean)} / {number(peak)}",
                ]
            )
    heads = ["users, refused truly", "dead", "healthy stale", "healthy: least life left"]
    heads += ["button after: median / longest", "verdict after: median / longest", "untold"]
    return table([*heads, "calls/s: need / mean / peak"], rows)


def headline(results: Sequence[Result]) -> dict[str, str]:
    """The worst of all runs, for the text."""
    lies = [result for result in results if result.fault.lies]
    truths = [result for result in results if not result.fault.lies]
    wrong = [result for result in lies if result.wrongly_condemned]
    shares = [len(result.wrongly_condemned) / result.fault.users for result in wrong]
    return {
        "healthy_stale": f"{sum(len(result.healthy_stale) for result in results):,}",
        "least_left": time(min(result.least_left for result in results)),
        "wrong_share": percent(max(shares, default=0)),
        "wrong_runs": str(len(wrong)),
        "lies": str(len(lies)),
        "button": _longest(result_times(truths, lambda result: result.button)),
        "verdict": _longest(result_times(truths, lambda result: result.verdict)),
        "untold": str(sum(result.never_told for result in truths)),
        "decided": f"{sum(result.decided for result in results):,}",
    }


def result_times(
    results: Sequence[Result], times: Callable[[Result], "array[float]"]
) -> "array[float]":
    """The same times of several runs."""
    return array("d", (seconds for result in results for seconds in times(result)))


def _each(figures: Iterator[str]) -> str:
    return " / ".join(figures)


def _longest(times: "array[float]") -> str:
    return time(max(times)) if times else "-"


def _median_and_longest(times: "array[float]") -> str:
    return f"{time(median(times))} / {time(max(times))}" if times else "-"
