"""Tables and charts on outages: load, herds, and who is stale for how long."""

from collections.abc import Iterator

from benchmarks.simulation import runs
from benchmarks.simulation.charts import Line, line_chart
from benchmarks.simulation.formatting import number, percent, table, time
from benchmarks.simulation.load import MINUTE, TURN_MINUTES, Load, Simulate
from benchmarks.simulation.scenario import mean_load

TURNS = (0, 1, 4, 8, 16, 32, 64, 96, 128)
"""Turns, of 0.75 lifetimes each, after an outage at which the herd is measured."""

Loads = list[tuple[str, Load]]
"""The runs of `runs.incidents`, with the number of users in words."""


def incidents(simulate: Simulate) -> Loads:
    """Make the runs that the tables and charts below are about."""
    return [(size, simulate(scenario)) for size, scenario in runs.incidents()]


def quiet_weeks(loads: Loads) -> str:
    """The load of weeks without an incident."""
    rows = []
    for size, load in loads:
        if load.scenario.outage is None:
            mean, peak = load.mean_per_second(), load.peak_per_second()
            rows.append(
                [
                    size,
                    f"{number(mean)}/s",
                    f"{number(mean_load(load.scenario.users))}/s",
                    f"{number(peak)}/s",
                    f"{peak / mean:.2f}",
                    percent(load.stale_share()),
                ]
            )
    heads = ["users", "mean", "users ÷ 0.75 lifetime", "busiest minute", "peak ÷ mean", "stale"]
    return table(heads, rows)


def outages(loads: Loads) -> str:
    """The cost of each outage: calls, and tokens that became stale."""
    rows = []
    for size, load in loads:
        if outage := load.scenario.outage:
            rows.append(
                [
                    f"{size}, {load.scenario.name}",
                    number(load.peak_per_second(first=outage.start, last=outage.end)),
                    number(load.peak_per_second(first=outage.end)),
                    percent(load.stale_share()),
                    " / ".join(map(time, load.stale_seconds())),
                    time(load.recovered_after(outage.end)),
                ]
            )
    heads = ["users, incident", "peak calls/s meanwhile", "peak calls/s after", "stale at worst"]
    return table([*heads, "stale: median / 95 % / longest", "all fresh after"], rows)


def herds(loads: Loads) -> str:
    """How the peaks after an outage fade from turn to turn."""
    rows = [
        [load.scenario.name, *(f"{load.herd(after=end, turn=turn):.2f}" for turn in TURNS)]
        for load, end in _of_a_million(loads)
    ]
    return table(["turns of 45 min since the end", *map(str, TURNS)], rows)


def herd_chart(loads: Loads) -> str:
    """The same as a picture."""
    lines = []
    for load, end in _of_a_million(loads):
        turns = range((len(load.refreshed) - 1 - int(end // MINUTE)) // TURN_MINUTES)
        points = [(turn / 32, load.herd(after=end, turn=turn)) for turn in turns]
        lines.append(Line(name=load.scenario.name, points=points))
    return line_chart(
        "How a herd fades",
        lines=lines,
        across="days since the end of the incident (1 million users, lanes for 2 x the mean)",
        up="busiest minute ÷ mean, by turn",
        step=1,
    )


def stale_chart(loads: Loads) -> str:
    """The share of stale users, hour by hour."""
    lines = []
    for load, _ in _of_a_million(loads):
        first = int(runs.BEGINS // MINUTE) - 60
        stale = load.stale[first : first + 12 * 60]
        points = [(n / 60 - 1, users / load.scenario.users * 100) for n, users in enumerate(stale)]
        lines.append(Line(name=load.scenario.name, points=points))
    return line_chart(
        "Users with an expired access token",
        lines=lines,
        across="hours since the beginning of the incident (1 million users)",
        up="% of users",
        step=1,
        highest=100,
    )


def _of_a_million(loads: Loads) -> Iterator[tuple[Load, float]]:
    """The incidents of a million users, each with the moment of its end."""
    for _, load in loads:
        if load.scenario.users == 1_000_000 and load.scenario.outage:
            yield load, load.scenario.outage.end


def outage_kinds(simulate: Simulate) -> tuple[str, str]:
    """Rows that back off by themselves, and a pause of all lanes: a table and a chart."""
    rows, lines = [], []
    for scenario in runs.outage_kinds():
        load = simulate(scenario)
        assert scenario.outage
        start, end = scenario.outage.start, scenario.outage.end
        median, _, longest = load.stale_seconds()
        rows.append(
            [
                scenario.name,
                number(load.peak_per_second(first=start, last=end)),
                number(sum(load.attempts[int(start // MINUTE) : int(end // MINUTE)])),
                f"{time(median)} / {time(longest)}",
                time(load.recovered_after(end)),
                f"{load.herd(after=end, turn=1):.2f}",
            ]
        )
        first = int(start // MINUTE) - 60
        calls = load.attempts[first : first + 8 * 60]
        points = [(n / 60 - 1, of_minute / MINUTE) for n, of_minute in enumerate(calls)]
        lines.append(Line(name=scenario.name, points=points))
    heads = ["the endpoint …", "peak calls/s meanwhile", "calls meanwhile"]
    heads += ["stale: median / longest", "all fresh after", "herd, next turn"]
    chart = line_chart(
        "Calls of the token endpoint, which is away from 0 h to 2 h",
        lines=lines,
        across="hours (1 million users, lanes for 4 x the mean)",
        up="calls a second, by the minute",
        step=1,
    )
    return table(heads, rows), chart


def headrooms(simulate: Simulate) -> str:
    """More lanes end an outage sooner; what they do to the herd, next turn and later."""
    rows = []
    for headroom, scenario in runs.headrooms():
        load = simulate(scenario)
        assert scenario.outage
        end = scenario.outage.end
        rows.append(
            [
                f"{headroom:g} x",
                f"{scenario.lanes:,}",
                time(load.stale_seconds()[0]),
                time(load.recovered_after(end)),
                *(f"{load.herd(after=end, turn=turn):.2f}" for turn in (1, 32, 96)),
            ]
        )
    heads = ["lanes for", "lanes", "median stale time", "all fresh after"]
    return table([*heads, "herd, next turn", "a day later", "3 days later"], rows)
