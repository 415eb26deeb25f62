"""The claim among a million tokens beside the claim among ten thousand, and the sweep.

Two databases with the real schema, filled by SQL. Claims are timed in turns: in
transactions that are rolled back, and in real ones that write a grant and commit. These begin
where the last one found its token, as all but one a second of a process do; that one begins
at the start of the due index, and is timed by itself. Then hours of refreshing pass in
simulated time (`million.Refreshing`), and all is timed again.
"""

import random
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import psycopg
from django.db import connection as database
from django.db import transaction

from benchmarks.charts import Chart
from benchmarks.measurement import Row, micro, milli
from benchmarks.million import LIFETIME, Refreshing, database_of, databases, fill
from benchmarks.sessions import Seconds, Sessions, in_turns, open_sessions
from spotify_auth.accounts_service.answers import Granted
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.connections import database_now
from spotify_auth.refresh import claims, lanes, store
from spotify_auth.refresh.decisions import decide
from spotify_auth.refresh.history import Evidence
from spotify_auth.refresh.process import process
from spotify_auth.refresh.transaction import ClaimTransaction

TITLE = "Claiming among a million tokens"
FEW, MANY = 10_000, 1_000_000
NAMES = {FEW: "bench_few", MANY: "bench_many"}
HOURS, LONG_HOURS = 0.15, 24
"""Simulated hours of refreshing."""
CLAIMS, CLAIMS_FROM_START = 2000, 500
HANGING = timedelta(seconds=24)
"""Two deadlines of the token endpoint: the longest that a lane's transaction may last."""
MOST = 1.3

_FROM_LAST, _FROM_START = "starting where the last one was found", "from the start of the index"
_NOT_JUDGED = "none: one claim in hundreds"

# A token that no other claim takes.
_FAR_AWAY = """
SELECT FROM spotify_auth_spotifytoken WHERE status = 'active'
ORDER BY due_at DESC LIMIT 1 FOR UPDATE
"""

GRANT = Grant(access_token="a" * 215, refresh_token="r" * 131, expires_in=LIFETIME, scope="")


@dataclass(kw_only=True)
class Times:
    """How long claims took at one point of the run."""

    pages: int
    """That one claim among the many touches."""
    rolled_back: Seconds
    from_start: Seconds
    committed: Seconds


@dataclass(kw_only=True)
class Moment:
    """Claims just before a vacuum."""

    minute: int
    rolled_back: Seconds
    from_start: Seconds


def run(*, long: bool) -> list[Row]:
    """Before and after the simulated hours; the sweep at last, when nothing is due."""
    hours = LONG_HOURS if long else HOURS
    now = database_now()
    begin = now - timedelta(hours=hours, minutes=2)
    with databases(NAMES.values()):
        fill(NAMES[FEW], tokens=FEW, now=now - timedelta(hours=2))
        fill(NAMES[MANY], tokens=MANY, now=begin)
        with open_sessions(NAMES) as sessions:
            before = _measure(sessions)
            with database_of(NAMES[MANY]):
                refreshing = Refreshing(clock=begin)
                curve = _refresh(refreshing, sessions, minutes=round(hours * 60))
                # The pages of all these minutes at once: writing them is no part of a claim.
                _checkpoint()
                after = _measure(sessions)
                hanging = _while_one_hangs(refreshing, sessions)
                while refreshing.clock < database_now() + timedelta(minutes=5):
                    refreshing.pass_time(timedelta(minutes=1))
                    refreshing.vacuum_if_due()
                sweep, floor = _sweep()
    rows = [*_rows("freshly filled", before), *_rows(f"after {hours} simulated hours", after)]
    return [
        *rows,
        *_before_vacuums(curve),
        *(_hanging(how, seconds) for how, seconds in hanging.items()),
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


def _measure(sessions: Sessions) -> Times:
    return Times(
        pages=sessions[MANY].do(_pages),
        rolled_back=in_turns(sessions, _claim_and_roll_back, CLAIMS),
        from_start=in_turns(sessions, _claim_from_start, CLAIMS_FROM_START),
        committed=in_turns(sessions, _claim_and_write, CLAIMS),
    )


def _checkpoint() -> None:
    with database.cursor() as cursor:
        cursor.execute("CHECKPOINT")


def _claim_and_roll_back() -> float:
    with ClaimTransaction() as claiming:
        seconds, _ = _claim(claiming)
    return seconds


def _claim_from_start() -> float:
    """A claim that does not know where the last one found its token; rolled back."""
    process.reset()
    return _claim_and_roll_back()


def _claim_and_write() -> float:
    with ClaimTransaction() as claiming:
        seconds, claim = _claim(claiming)
        decision = decide(claim, Granted(GRANT), Evidence(), False, random.random())
        store.apply(claiming, claim, decision, duration=seconds)
    return seconds


def _claim(claiming: ClaimTransaction) -> tuple[float, claims.Claim]:
    started = time.perf_counter()
    claim = claims.most_urgent(claiming)
    seconds = time.perf_counter() - started
    if claim is None:
        raise RuntimeError("nothing was due")
    return seconds, claim


def _pages() -> int:
    """Pages that the claim's statement touches, by EXPLAIN (ANALYZE, BUFFERS)."""
    with transaction.atomic(), database.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {claims.FROM_START}", {})
        plan = cursor.fetchone()[0][0]["Plan"]
        transaction.set_rollback(True)
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def _refresh(refreshing: Refreshing, sessions: Sessions, *, minutes: int) -> Sequence[Moment]:
    """Let the minutes pass; what claims took at moments spread over them."""
    curve = []
    every = max(1, minutes // 60)
    for minute in range(1, minutes + 1):
        refreshing.pass_time(timedelta(minutes=1))
        if minute % every == 0:  # before the vacuum, when a claim costs most
            curve.append(
                Moment(
                    minute=minute,
                    rolled_back=in_turns(sessions, _claim_and_roll_back, 40),
                    from_start=in_turns(sessions, _claim_from_start, 40),
                )
            )
        refreshing.vacuum_if_due()
    return curve


def _while_one_hangs(refreshing: Refreshing, sessions: Sessions) -> dict[str, Seconds]:
    """Claims while one lane's transaction stays open and other lanes refresh, by their kind.

    Nothing that was refreshed since it began can be taken for dead yet, so a claim from the
    start of the index steps over all of it in the table itself.
    """
    parameters = database.get_connection_params()
    names = ("host", "port", "user", "password", "dbname")
    with psycopg.connect(**{name: parameters[name] for name in names}) as lane:
        lane.execute(_FAR_AWAY)
        refreshing.pass_time(HANGING)
        seconds = {
            _FROM_LAST: in_turns(sessions, _claim_and_roll_back, 200),
            _FROM_START: in_turns(sessions, _claim_from_start, 200),
        }
        lane.rollback()
    return seconds


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
        for how, seconds in (
            (f"rolled back, {_FROM_LAST}", times.rolled_back),
            (f"rolled back, {_FROM_START}", times.from_start),
            (f"committed, {_FROM_LAST}", times.committed),
        )
    ]


def _row(
    what: str,
    seconds: Seconds,
    *,
    judged: Sequence[str] = ("p50", "p99"),
    chart: Chart | None = None,
) -> Row:
    few, many = (
        (statistics.median(seconds[n]), statistics.quantiles(seconds[n], n=100)[98])
        for n in (FEW, MANY)
    )
    p50, p99 = (ours / floor for ours, floor in zip(many, few, strict=True))
    ratios = {"p50": p50, "p99": p99}
    return Row(
        what=what,
        target=f"{' and '.join(judged)} at most {MOST} x" if judged else _NOT_JUDGED,
        figure=f"{micro(many[0])}, {micro(many[1])}: {p50:.2f} x, {p99:.2f} x",
        floor=f"{micro(few[0])}, {micro(few[1])} at {FEW:,} tokens",
        met=all(ratios[name] <= MOST for name in judged) if judged else None,
        chart=chart,
    )


def _before_vacuums(curve: Sequence[Moment]) -> list[Row]:
    chart = Chart(
        name="claiming",
        title="Median claim, just before each vacuum of the million",
        unit="µs",
        kind="lines",
        x_name="simulated hours of refreshing, 370 tokens a second",
        labels=[f"{moment.minute / 60:.1f}" for moment in curve],
        series={
            f"{FEW:,} tokens": _medians((moment.rolled_back for moment in curve), FEW),
            f"{MANY:,} tokens": _medians((moment.rolled_back for moment in curve), MANY),
            f"{MANY:,}, {_FROM_START}": _medians((moment.from_start for moment in curve), MANY),
        },
    )
    what = "claim just before a vacuum, rolled back"
    return [
        # A moment has too few claims, right after a minute's writes, for a p99 to judge.
        _row(
            f"{what}, {_FROM_LAST}",
            _together(moment.rolled_back for moment in curve),
            judged=["p50"],
        ),
        _row(
            f"{what}, {_FROM_START}, one per second and process",
            _together(moment.from_start for moment in curve),
            judged=[],
            chart=chart,
        ),
    ]


def _medians(moments: Iterable[Seconds], tokens: int) -> list[float]:
    """The median at each moment, in microseconds."""
    return [statistics.median(seconds[tokens]) * 1e6 for seconds in moments]


def _together(moments: Iterable[Seconds]) -> Seconds:
    """How long the claims of all points took."""
    together: dict[int, list[float]] = {FEW: [], MANY: []}
    for seconds in moments:
        for tokens, times in together.items():
            times.extend(seconds[tokens])
    return together


def _hanging(how: str, seconds: Seconds) -> Row:
    few, many = (statistics.median(seconds[n]) for n in (FEW, MANY))
    return Row(
        what=f"claim while one exchange has hung for {HANGING.seconds} s, rolled back, {how}",
        target="",
        figure=f"{micro(many)}: {many / few:.1f} x",
        floor=f"{micro(few)} at {FEW:,} tokens",
    )
