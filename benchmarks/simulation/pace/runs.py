"""The runs whose figures are in docs/measurements/simulation-pace.md."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing import get_context

import django

from benchmarks.simulation.pace.result import Result
from benchmarks.simulation.pace.scenario import Case, Change, Kind, Pacing, RetryAfter
from benchmarks.simulation.pace.simulation import PaceSimulation

USERS = 1_000_000
SEEDS = (1, 2, 3)
CAPS = (1.02, 1.05, 1.2, 1.5, 0.9)
OUTAGES = {"10 min": 600, "2 h": 7200}
HOUR = 3600


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One line of a table: the same case without a pace, with a learned one, and an oracle's."""

    name: str
    case: Case

    def runs(self, pacing: Pacing) -> Iterator[Case]:
        """Each seed; one is enough without a pace. An oracle never meets the limit."""
        case = self.case
        if pacing is Pacing.ORACLE and case.stray_at is None:
            case = replace(case, retry_after=RetryAfter.ONE, kind=Kind.FIXED)
        for seed in SEEDS[:1] if pacing is Pacing.NONE else SEEDS:
            yield replace(case, pacing=pacing, seed=seed)

    def all_runs(self) -> Iterator[Case]:
        """Those of every way to pace."""
        for pacing in Pacing:
            yield from self.runs(pacing)


def cells(*, users: int) -> Iterator[Cell]:
    """Every cap, outage and Retry-After, with windows that follow each other."""
    for cap in CAPS:
        for outage, seconds in OUTAGES.items():
            for says in RetryAfter:
                yield Cell(
                    name=f"{cap:g}, {outage}, {says}",
                    case=Case(cap=cap, outage=seconds, retry_after=says, users=users),
                )


def other_kinds(*, users: int) -> Iterator[Cell]:
    """The other ways to count, after two hours."""
    for kind in (Kind.SLIDING, Kind.BUCKET):
        for cap in (1.05, 1.2, 1.5):
            for says in (RetryAfter.ONE, RetryAfter.THIRTY):
                yield Cell(
                    name=f"{kind}, {cap:g}, {says}",
                    case=Case(cap=cap, outage=7200, retry_after=says, kind=kind, users=users),
                )


def changes(*, users: int) -> Iterator[Cell]:
    """Two hours away; then the limit changes two hours later, and is watched for four."""
    for before, after in ((1.5, 1.1), (1.1, 1.5), (1.2, 0.9)):
        yield Cell(
            name=f"{before:g}, then {after:g}",
            case=Case(
                cap=before,
                outage=7200,
                users=users,
                change=Change(at=2 * HOUR, cap=after),
                horizon=6 * HOUR,
            ),
        )


def strays(*, users: int) -> Iterator[Cell]:
    """One 429 that no limit explains, in calm traffic."""
    for says in (RetryAfter.ONE, RetryAfter.THIRTY):
        yield Cell(
            name=f"one stray 429, {says}",
            case=Case(cap=3.0, retry_after=says, stray_at=600.0, users=users, horizon=2 * HOUR),
        )


Results = Mapping[Case, Result]


def make(cells: Sequence[Cell]) -> Results:
    """Every run of the cells, each once, side by side."""
    cases = list({case: None for cell in cells for case in cell.all_runs()})
    with get_context("spawn").Pool(initializer=django.setup) as pool:
        return dict(zip(cases, pool.imap(_run, cases), strict=True))


def _run(case: Case) -> Result:
    return PaceSimulation(case).run()
