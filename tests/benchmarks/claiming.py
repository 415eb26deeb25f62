"""The claim among a million tokens beside the claim among ten thousand, and the sweep.

Two databases with the real schema, filled by SQL. Claims are timed in turns: in
transactions that are rolled back, and in real ones that write a grant and commit. Then
hours of refreshing pass in simulated time (`million.Refreshing`), and all is timed again.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from django.db import connection as database
from django.db import transaction

from spotify_auth import claims, lanes
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.connection import database_now
from spotify_auth.results import write_grant
from tests.benchmarks.charts import Chart
from tests.benchmarks.million import LIFETIME, Refreshing, database_of, databases, fill
from tests.benchmarks.rows import Row, micro, milli

TITLE = "Claiming among a million tokens"
FEW, MANY = 10_000, 1_000_000
NAMES = {FEW: "bench_few", MANY: "bench_many"}
HOURS, LONG_HOURS = 1, 24
"""Simulated hours of refreshing."""
TURNS, CLAIMS = 15, 200
"""Claims in each turn; the first ones warm the session up and do not count."""
WARM_UP = 10
MOST = 1.3

GRANT = Grant(access_token="a" * 215, refresh_token="r" * 131, expires_in=LIFETIME, scope="")


@dataclass(kw_only=True)
class Times:
    """Seconds that claims took, by the number of tokens."""

    rolled_back: dict[int, list[float]] = field(default_factory=lambda: {FEW: [], MANY: []})
    committed: dict[int, list[float]] = field(default_factory=lambda: {FEW: [], MANY: []})
    pages: int = 0
    """That one claim among the many touches."""


def run(*, long: bool) -> list[Row]:
    """Before and after the simulated hours; the sweep at last, when nothing is due."""
    hours = LONG_HOURS if long else HOURS
    now = database_now()
    begin = now - timedelta(hours=hours, minutes=10)
    with databases(NAMES.values()):
        fill(NAMES[FEW], tokens=FEW, now=now - timedelta(hours=2))
        fill(NAMES[MANY], tokens=MANY, now=begin)
        before = _measure()
        with database_of(NAMES[MANY]):
            refreshing = Refreshing(clock=begin)
            curve = _refresh(refreshing, minutes=hours * 60)
        after = _measure()
        with database_of(NAMES[MANY]):
            while refreshing.clock < database_now() + timedelta(minutes=5):
                refreshing.minute()
            sweep, floor = _sweep()
    rows = [*_rows("freshly filled", before), *_rows(f"after {hours} simulated hours", after)]
    few = statistics.median(after.rolled_back[FEW])
    return [
        *rows,
        _before_vacuums(curve, few),
        Row(
            what="pages that a claim touches, before and after",
            target="",
            figure=f"{before.pages} and {after.pages}",
            floor=f"{refreshing.refreshed:,} refreshes, {refreshing.vacuums} vacuums between",
        ),
        Row(
            what="sweep with nothing due, a million tokens",
            target="under 5 ms",
            figure=milli(sweep),
            floor=f"{milli(floor)} SELECT 1",
            met=sweep < 0.005,
        ),
    ]


def _measure() -> Times:
    times = Times()
    for _ in range(TURNS):
        for tokens, name in NAMES.items():
            with database_of(name):
                times.rolled_back[tokens] += _timed(_claim_and_roll_back)
                times.committed[tokens] += _timed(_claim_and_write)
    with database_of(NAMES[MANY]):
        times.pages = _pages()
    return times


def _timed(claim: Callable[[], float], count: int = CLAIMS) -> list[float]:
    return [claim() for _ in range(WARM_UP + count)][WARM_UP:]


def _claim_and_roll_back() -> float:
    with transaction.atomic():
        seconds, _ = _claim()
        transaction.set_rollback(True)
    return seconds


def _claim_and_write() -> float:
    with transaction.atomic():
        seconds, claim = _claim()
        write_grant(claim, GRANT, issued_at=claim.claimed_at, cause=claim.cause, duration=seconds)
    return seconds


def _claim() -> tuple[float, claims.Claim]:
    started = time.perf_counter()
    claim = claims.claim_next()
    seconds = time.perf_counter() - started
    if claim is None:
        raise RuntimeError("nothing was due")
    return seconds, claim


def _pages() -> int:
    """Pages that the claim's statement touches, by EXPLAIN (ANALYZE, BUFFERS)."""
    select = claims._NEXT.split(";", 1)[1]
    with transaction.atomic(), database.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {select}", {})
        plan = cursor.fetchone()[0][0]["Plan"]
        transaction.set_rollback(True)
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def _refresh(refreshing: Refreshing, *, minutes: int) -> Sequence[tuple[int, float]]:
    """Let the minutes pass; (minute, median claim) at moments spread over all of them."""
    curve = []
    every = max(1, minutes // 60)
    for minute in range(1, minutes + 1):
        refreshing.minute()
        if minute % every == 0:  # before the vacuum, when a claim costs most
            curve.append((minute, statistics.median(_timed(_claim_and_roll_back, 20))))
        refreshing.vacuum_if_due()
    return curve


def _sweep() -> tuple[float, float]:
    """Medians in seconds: a sweep, and a bare round trip to PostgreSQL."""
    sweeps, floors = [], []
    for _ in range(300):
        started = time.perf_counter()
        opened = lanes.open_lanes()
        sweeps.append(time.perf_counter() - started)
        if opened:
            raise RuntimeError("something was due")
        started = time.perf_counter()
        with database.cursor() as cursor:
            cursor.execute("SELECT 1")
        floors.append(time.perf_counter() - started)
    return statistics.median(sweeps), statistics.median(floors)


def _rows(when: str, times: Times) -> list[Row]:
    return [
        _row(f"claim, {how}, {when}", seconds)
        for how, seconds in (("rolled back", times.rolled_back), ("committed", times.committed))
    ]


def _row(what: str, seconds: dict[int, list[float]]) -> Row:
    few, many = (
        (statistics.median(seconds[n]), statistics.quantiles(seconds[n], n=100)[98])
        for n in (FEW, MANY)
    )
    p50, p99 = (ours / floor for ours, floor in zip(many, few, strict=True))
    return Row(
        what=what,
        target=f"p50 and p99 at most {MOST} x",
        figure=f"{micro(many[0])}, {micro(many[1])}: {p50:.2f} x, {p99:.2f} x",
        floor=f"{micro(few[0])}, {micro(few[1])} at {FEW:,} tokens",
        met=p50 <= MOST and p99 <= MOST,
    )


def _before_vacuums(curve: Sequence[tuple[int, float]], few: float) -> Row:
    ours = statistics.median(seconds for _, seconds in curve)
    return Row(
        what="claim just before a vacuum, rolled back",
        target=f"p50 at most {MOST} x",
        figure=f"{micro(ours)}: {ours / few:.2f} x",
        floor=f"{micro(few)} at {FEW:,} tokens",
        met=ours / few <= MOST,
        chart=Chart(
            name="claiming",
            title="Median claim among a million tokens, just before a vacuum",
            unit="µs",
            kind="lines",
            x_name="simulated hours of refreshing, 370 tokens a second",
            labels=[f"{minute / 60:.1f}" for minute, _ in curve],
            series={"claim": [seconds * 1e6 for _, seconds in curve]},
        ),
    )
