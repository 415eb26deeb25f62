"""`python -m benchmarks.simulation [PART …]`: make every run of the parts and write their pages.

`schedule` writes docs/measurements/simulation.md, `refusals` simulation-refusals.md, and `pace`
simulation-pace.md. `--quick` makes the same runs with few users, and writes to another directory.
"""

import argparse
import os
from pathlib import Path

import django

INTO = Path(__file__).resolve().parents[2] / "docs/measurements"
PARTS = ("schedule", "refusals", "pace")
SAMPLE, QUICK_SAMPLE = 200_000, 10_000
QUICK_SIZES = (200,)


def main() -> None:
    """Run, and write the pages and their pictures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation")
    parser.add_argument("parts", nargs="*", metavar="PART", help="; ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="with few users; needs --into")
    parser.add_argument(
        "--sample", type=int, default=SAMPLE, help="maximum number of tokens in the schedule's runs"
    )
    parser.add_argument("--into", type=Path, default=INTO, help="where the pages go")
    options = parser.parse_args()
    if unknown := sorted(set(options.parts) - set(PARTS)):
        parser.error(f"there is no part {', '.join(unknown)}: name one of {', '.join(PARTS)}")
    if options.quick and options.into == INTO:
        parser.error("--quick is too coarse for docs/: name another directory with --into")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.simulation.settings")
    django.setup()
    # The service's rules can be imported once Django is set up.
    from benchmarks.simulation import pages
    from benchmarks.simulation.pace.runs import USERS
    from benchmarks.simulation.refusals import runs

    parts = options.parts or PARTS
    if "schedule" in parts:
        sample = QUICK_SAMPLE if options.quick else options.sample
        pages.write_schedule(into=options.into, sample=sample)
    if "refusals" in parts:
        sizes = QUICK_SIZES if options.quick else runs.SIZES
        pages.write_refusals(into=options.into, sizes=sizes)
    if "pace" in parts:
        pages.write_pace(into=options.into, users=QUICK_SAMPLE if options.quick else USERS)


if __name__ == "__main__":
    main()
