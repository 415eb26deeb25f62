"""Tables on what does not fit: rate limits, one PostgreSQL, an import, and who may sleep."""

from benchmarks.simulation import runs
from benchmarks.simulation.formatting import number, percent, table, time
from benchmarks.simulation.load import MINUTE, Simulate
from benchmarks.simulation.scenario import DAY


def rate_limits(simulate: Simulate) -> str:
    """A cap on calls, with lanes that respect it and that do not."""
    rows = []
    for scenario in runs.rate_limits():
        load = simulate(scenario)
        assert scenario.rate_limit
        end = scenario.outage.end if scenario.outage else 0.0
        kept = load.mean_per_second(first=1.5 * DAY)
        rows.append(
            [
                scenario.name,
                number(scenario.rate_limit.per_second),
                number(scenario.capacity(0)),
                number(kept),
                percent(load.stale[-3] / scenario.users),
                time(load.recovered_after(end)),
            ]
        )
    heads = ["", "cap/s", "lanes could/s", "refreshed/s, last half day"]
    return table([*heads, "stale at the end", "all fresh after"], rows)


def one_database(simulate: Simulate) -> str:
    """A hundred million users on one PostgreSQL."""
    load = simulate(runs.one_database())
    hours = (0.5, 1, 2, 4, 8)
    rows = [
        [time(hour * 3600), percent(load.stale[int(hour * 60)] / load.scenario.users)]
        for hour in hours
    ]
    return table(["100 million users, one PostgreSQL: after", "stale"], rows)


def import_at_once(simulate: Simulate) -> str:
    """How the worst herd fades."""
    load = simulate(runs.import_at_once())
    rows = [[str(turn), f"{load.herd(after=0, turn=turn):.2f}"] for turn in (1, 8, 32, 64, 128)]
    return table(["turn after all were due at once", "peak ÷ mean"], rows)


def dormancy(simulate: Simulate) -> str:
    """What dormancy saves, and what it costs."""
    rows = []
    settled = DAY
    loads = {days: simulate(scenario) for days, scenario in runs.dormancies()}
    all_of_them = loads[max(loads)].mean_per_second(first=settled)
    for days, load in loads.items():
        mean = load.mean_per_second(first=settled)
        wakes = sum(load.wakes[int(settled // MINUTE) :]) / 2
        rows.append(
            [
                "never" if days > 1000 else f"{days:g} days",
                f"{number(mean)}/s",
                percent(1 - mean / all_of_them),
                number(wakes),
                percent(wakes / runs.visits_a_day(load.scenario.users)),
            ]
        )
    heads = ["asleep after", "load", "saved", "visits a day that wake a token", "of all visits"]
    return table(heads, rows)
