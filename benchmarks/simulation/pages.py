"""The pages: every run of a part, and its text."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from string import Template

from benchmarks.simulation import (
    formatting,
    incident_tables,
    limit_tables,
    measured,
    pace,
    quiet_tables,
    refusals,
)
from benchmarks.simulation.load import MINUTE, Load
from benchmarks.simulation.pace import runs as pace_runs
from benchmarks.simulation.pace import tables as pace_tables
from benchmarks.simulation.refusals import runs as refusal_runs
from benchmarks.simulation.refusals import tables as refusal_tables
from benchmarks.simulation.refusals.result import Result
from benchmarks.simulation.refusals.scenario import Fault
from benchmarks.simulation.refusals.simulation import RefusalSimulation
from benchmarks.simulation.sampled import SampledSimulation
from benchmarks.simulation.scenario import Scenario, mean_load

SCHEDULE = Path(__file__).with_name("schedule.md")
REFUSALS = Path(refusals.__file__).with_name("page.md")
PACE = Path(pace.__file__).with_name("page.md")


def write_schedule(*, into: Path, sample: int) -> Path:
    """Load and outages: `simulation.md` and `images/simulation-*.svg`."""
    started = time.monotonic()

    def simulate(scenario: Scenario) -> Load:
        _say(started, f"{scenario.users:,} users, {scenario.name}")
        return SampledSimulation(scenario, seed=quiet_tables.SEED, sample=sample).run()

    images = into / "images"
    images.mkdir(parents=True, exist_ok=True)
    loads = incident_tables.incidents(simulate)
    kinds, outage_chart = incident_tables.outage_kinds(simulate)
    page = Template(SCHEDULE.read_text()).substitute(
        date=_today(),
        sample=f"{sample:,}",
        noise=formatting.percent((mean_load(sample) * MINUTE) ** -0.5),
        cpu=f"{measured.WORKER_CPU_SECONDS * 1000:.1f}",
        database=f"{measured.DATABASE_PER_SECOND:,}",
        warm=f"{measured.WAL_BYTES_WARM:,}",
        cold=f"{measured.WAL_BYTES_COLD:,}",
        growth=measured.HISTORY_BYTES_A_DAY,
        history=f"{measured.HISTORY_BYTES:,}",
        token=f"{measured.TOKEN_BYTES:,}",
        validation=quiet_tables.validation(),
        quiet=incident_tables.quiet_weeks(loads),
        outages=incident_tables.outages(loads),
        herds=incident_tables.herds(loads),
        kinds=kinds,
        headrooms=incident_tables.headrooms(simulate),
        lanes=quiet_tables.lanes(simulate),
        rate_limits=limit_tables.rate_limits(simulate),
        one_database=limit_tables.one_database(simulate),
        import_at_once=limit_tables.import_at_once(simulate),
        dormancy=limit_tables.dormancy(simulate),
        sizing=quiet_tables.sizing(),
        fleet=quiet_tables.fleet(),
    )
    charts = {
        "outage": outage_chart,
        "herds": incident_tables.herd_chart(loads),
        "stale": incident_tables.stale_chart(loads),
    }
    for name, chart in charts.items():
        (images / f"simulation-{name}.svg").write_text(chart)
    return _written(into / "simulation.md", page, started)


def write_refusals(*, into: Path, sizes: Sequence[int]) -> Path:
    """Refusals, false and true: `simulation-refusals.md`."""
    started, cpu = time.monotonic(), time.process_time()
    results: list[Result] = []

    def simulate(fault: Fault) -> Result:
        _say(started, f"{fault.users:,} users, {fault.name}, {formatting.time(fault.seconds)}")
        results.append(RefusalSimulation(fault, seed=quiet_tables.SEED).run())
        return results[-1]

    lies = {
        f"lies_{duration.replace(' ', '')}": refusal_tables.lies(
            simulate, duration=duration, sizes=sizes
        )
        for duration in refusal_runs.DURATIONS
    }
    truths = refusal_tables.truths(simulate, sizes=sizes)
    page = Template(REFUSALS.read_text()).substitute(
        date=_today(),
        minutes=f"{(time.process_time() - cpu) / 60:.0f}",
        truths=truths,
        **lies,
        **refusal_tables.headline(results),
    )
    into.mkdir(parents=True, exist_ok=True)
    return _written(into / "simulation-refusals.md", page, started)


def write_pace(*, into: Path, users: int) -> Path:
    """Limits, found and kept: `simulation-pace.md`."""
    started = time.monotonic()
    cells = list(pace_runs.cells(users=users))
    kinds = list(pace_runs.other_kinds(users=users))
    changes = list(pace_runs.changes(users=users))
    strays = list(pace_runs.strays(users=users))
    _say(started, f"{users:,} users beside a limit")
    results = pace_runs.make([*cells, *kinds, *changes, *strays])
    page = Template(PACE.read_text()).substitute(
        date=_today(),
        minutes=f"{(time.monotonic() - started) / 60:.0f}",
        users=f"{users:,}",
        recoveries=pace_tables.recoveries(results, cells),
        stale=pace_tables.stale(results, [cell for cell in cells if cell.case.cap < 1]),
        kinds=pace_tables.recoveries(results, kinds),
        changes=pace_tables.changes(results, changes),
        strays=pace_tables.strays(results, strays),
    )
    into.mkdir(parents=True, exist_ok=True)
    return _written(into / "simulation-pace.md", page, started)


def _today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


def _say(started: float, what: str) -> None:
    print(f"{time.monotonic() - started:6.0f} s  {what}", flush=True)


def _written(path: Path, page: str, started: float) -> Path:
    path.write_text(page)
    _say(started, str(path))
    return path
