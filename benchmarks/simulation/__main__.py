"""`python -m benchmarks.simulation`: make every run and write docs/measurements/simulation.md.

`--quick` makes the same runs with a small sample, and writes to another directory.
"""

import argparse
import time
from datetime import UTC, datetime
from pathlib import Path
from string import Template

from benchmarks.simulation import formatting, incident_tables, limit_tables, measured, quiet_tables
from benchmarks.simulation.load import MINUTE, Load
from benchmarks.simulation.sampled import SAMPLE, SampledSimulation
from benchmarks.simulation.scenario import Scenario, mean_load

ROOT = Path(__file__).resolve().parents[2]
INTO = ROOT / "docs/measurements"
PAGE = Path(__file__).with_name("page.md")
QUICK_SAMPLE = 10_000


def main() -> None:
    """Run, and write the page and its pictures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation")
    parser.add_argument("--quick", action="store_true", help="a small sample; needs --into")
    parser.add_argument(
        "--sample", type=int, default=SAMPLE, help="maximum number of simulated tokens"
    )
    parser.add_argument("--into", type=Path, default=INTO, help="where the page goes")
    options = parser.parse_args()
    if options.quick and options.into == INTO:
        parser.error("--quick is too coarse for docs/: name another directory with --into")
    write_report(into=options.into, sample=QUICK_SAMPLE if options.quick else options.sample)


def write_report(*, into: Path, sample: int) -> None:
    """Make every run; write `simulation.md` and `images/simulation-*.svg`."""
    started = time.monotonic()

    def simulate(scenario: Scenario) -> Load:
        print(f"{time.monotonic() - started:6.0f} s  {scenario.users:,} users, {scenario.name}")
        return SampledSimulation(scenario, seed=quiet_tables.SEED, sample=sample).run()

    images = into / "images"
    images.mkdir(parents=True, exist_ok=True)
    loads = incident_tables.incidents(simulate)
    kinds, outage_chart = incident_tables.outage_kinds(simulate)
    page = Template(PAGE.read_text()).substitute(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        sample=f"{sample:,}",
        noise=formatting.percent((mean_load(sample) * MINUTE) ** -0.5),
        cpu=f"{measured.WORKER_CPU_SECONDS * 1000:.1f}",
        database=f"{measured.DATABASE_PER_SECOND:,}",
        warm=f"{measured.WAL_BYTES_WARM:,}",
        cold=f"{measured.WAL_BYTES_COLD:,}",
        event=measured.EVENT_BYTES,
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
    (into / "simulation.md").write_text(page)
    print(f"{time.monotonic() - started:6.0f} s  {into / 'simulation.md'}")


if __name__ == "__main__":
    main()
