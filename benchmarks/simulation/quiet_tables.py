"""Tables on ordinary days: the check of the model, lanes, and what a fleet needs."""

from benchmarks.simulation import formatting, runs
from benchmarks.simulation.exact import ExactSimulation
from benchmarks.simulation.formatting import number, percent, table
from benchmarks.simulation.load import Simulate
from benchmarks.simulation.sampled import SampledSimulation
from benchmarks.simulation.scenario import DAY, Scenario, lanes_for, mean_load
from benchmarks.simulation.sizing import Sizing

SEED = 20_260_601


def validation() -> str:
    """Both simulations of the same scenarios, side by side."""
    rows = []
    for title, outage in list(runs.INCIDENTS.items())[:3]:
        scenario = Scenario(
            name=title,
            users=10_000,
            lanes=lanes_for(10_000, latency=0.2, headroom=4),
            duration=2 * DAY,
            outage=outage,
        )
        loads = (
            ExactSimulation(scenario, seed=SEED).run(),
            SampledSimulation(scenario, seed=SEED).run(),
        )
        rows += [
            [title, *(f"{load.mean_per_second():.3f}" for load in loads)],
            ["- busy lanes", *(f"{load.mean_busy():.3f}" for load in loads)],
            ["- ever stale", *(f"{load.ever_stale():.0f}" for load in loads)],
            ["- median stale time", *(f"{load.stale_seconds()[0]:.0f} s" for load in loads)],
        ]
    return table(["10,000 users; refreshes a second", "event by event", "sweep by sweep"], rows)


def lanes(simulate: Simulate) -> str:
    """How many lanes a latency needs: Little's law and the simulation."""
    rows = []
    for latency, factor, scenario in runs.lane_counts():
        load = simulate(scenario)
        settled = DAY / 4
        rows.append(
            [
                f"{latency * 1000:.0f} ms",
                f"{factor:g} x",
                f"{scenario.lanes:,}",
                number(mean_load(scenario.users) * latency),
                number(load.mean_busy(first=settled)),
                percent(load.mean_per_second(first=settled) / mean_load(scenario.users)),
                percent(load.stale_share()),
            ]
        )
    heads = ["latency", "lanes ÷ Little", "lanes", "Little: busy", "busy", "load kept up", "stale"]
    return table(heads, rows)


def sizing() -> str:
    """The load of one PostgreSQL."""
    rows = []
    for name, users in runs.SIZES.items():
        needs = Sizing(users=users)
        warm, cold = needs.wal_bytes_a_second
        rows.append(
            [
                name,
                f"{number(needs.per_second)}/s",
                percent(needs.database_share),
                formatting.size(needs.token_bytes),
                number(needs.events_a_day / 1e6) + " million",
                formatting.size(needs.event_bytes_a_day),
                formatting.size(needs.event_bytes_kept),
                f"{formatting.size(warm)} to {formatting.size(cold)}",
            ]
        )
    heads = ["users", "commits", "of one PostgreSQL", "token table", "events a day"]
    return table([*heads, "history a day", "history", "WAL a second"], rows)


def fleet() -> str:
    """Cores, lanes, processes and servers."""
    rows = []
    for name, users in runs.SIZES.items():
        needs = Sizing(users=users)
        per_latency = (
            f"{needs.lanes(latency):,} / {needs.processes(latency):,}" for latency in runs.LATENCIES
        )
        rows.append([name, number(needs.cores), *per_latency, str(runs.databases_for(users))])
    heads = ["users", "worker cores, mean"]
    heads += [f"lanes / processes at {latency * 1000:.0f} ms" for latency in runs.LATENCIES]
    return table([*heads, "PostgreSQL servers"], rows)
