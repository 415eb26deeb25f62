"""All processes were down for two hours, and 6,000 tokens have expired.

First the steady throughput of one worker, as the floor. Then no process runs while the
tokens age by two hours; then worker and beat start as usual. Readers read throughout. The
next herd is compared with the load of the same users when they are spread over a whole turn
of the schedule.
"""

import itertools
import statistics
import time
from collections import Counter
from collections.abc import Sequence

from django.db import connection as database

from benchmarks.bulk_users import connect_people
from benchmarks.charts import Chart
from benchmarks.measurement import Row, milli, per_second
from benchmarks.refreshing import refreshing
from benchmarks.service import environment, let_spotify_take_its_time, workers
from spotify_auth import tokens
from spotify_auth.models import Outcome, SpotifyToken, TokenEvent
from spotify_auth.schedule import REFRESH_WINDOW
from tests.support.background import Background
from tests.support.processes import beat_process, teardown_together, wait_for, worker_process
from tests.support.sandbox_client import Sandbox

TITLE = "Recovery after two hours without any process"
PEOPLE = 6_000
LANES = 64
LIFETIME = 3600
TURN_MINUTES = statistics.mean(REFRESH_WINDOW) * LIFETIME / 60
"""From one refresh of a token to the next, as long as nothing is late."""
PAUSE_SECONDS = 0.01
"""Between two reads of a reader."""


def run(*, long: bool) -> list[Row]:
    """Drain all due tokens; then measure the order, the readers and the next herd."""
    with Sandbox(access_token_lifetime=LIFETIME) as sandbox:
        user_ids = [person.pk for person in connect_people(sandbox, PEOPLE)]
        let_spotify_take_its_time(sandbox)
        with workers(sandbox, lanes=LANES) as running:
            steady = statistics.median(refreshing(sandbox, running).rate for _ in range(2))
        TokenEvent.objects.all().delete()
        urgency = _age()
        env = environment(sandbox, lanes=LANES)
        started = time.monotonic()
        with _Readers(user_ids) as readers:
            processes = [
                worker_process("worker", env=env, concurrency=LANES),
                beat_process("beat", env=env),
            ]
            try:
                wait_for(
                    lambda: not SpotifyToken.objects.filter(generation=1).exists() and _all_fresh(),
                    what="all tokens to be fresh",
                    seconds=600,
                )
                all_in_all = time.monotonic() - started
            finally:
                teardown_together(processes)
        rows = _rows(steady, urgency, readers, all_in_all=all_in_all)
    SpotifyToken.objects.all().delete()
    return rows


def _age() -> dict[int, int]:
    """Let two hours pass for all tokens; the rank of each by urgency."""
    with database.cursor() as cursor:
        cursor.execute(
            """
            UPDATE spotify_auth_spotifytoken
            SET generation = 1, (refreshed_at, expires_at, due_at) = (
                SELECT issued, issued + interval '1 hour', issued + interval '45 minutes'
                FROM (SELECT now() - interval '2 hours' - random() * interval '45 minutes'
                             + 0 * length(scope) * interval '1 s' AS issued) AS moments)
            """
        )
        cursor.execute("VACUUM ANALYZE spotify_auth_spotifytoken")
    in_order = SpotifyToken.objects.order_by("due_at").values_list("pk", flat=True)
    return {user_id: rank for rank, user_id in enumerate(in_order)}


def _all_fresh() -> bool:
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT NOT EXISTS (SELECT FROM spotify_auth_spotifytoken WHERE expires_at <= now())"
        )
        return bool(cursor.fetchone()[0])


class _Readers(Background):
    """Two threads that read tokens over and over: what they meet, and how long it takes."""

    def __init__(self, user_ids: Sequence[int]) -> None:
        super().__init__(threads=2, pause=PAUSE_SECONDS)
        self.met: Counter[str] = Counter()
        self.seconds: list[float] = []
        self._turns = [itertools.cycle(user_ids[n::2]) for n in range(2)]

    def turn(self, thread: int) -> None:
        """Read the next of this thread's tokens."""
        started = time.perf_counter()
        try:
            tokens.access_token_for(next(self._turns[thread]))
            met = "fresh"
        except Exception as error:
            met = type(error).__name__
        self.seconds.append(time.perf_counter() - started)
        self.met[met] += 1


def _rows(
    steady: float, urgency: dict[int, int], readers: _Readers, *, all_in_all: float
) -> list[Row]:
    refreshed = list(
        TokenEvent.objects.filter(outcome=Outcome.REFRESHED)
        .order_by("at")
        .values_list("user_id", "at")
    )
    seconds = (refreshed[-1][1] - refreshed[0][1]).total_seconds()
    rate = len(refreshed) / seconds
    late = max(place - urgency[user_id] for place, (user_id, _) in enumerate(refreshed))
    per_minute = _due_per_minute()
    peak, mean = max(per_minute), PEOPLE / TURN_MINUTES
    fresh, stale = readers.met["fresh"], readers.met["TokenStale"]
    failed = readers.met.total() - fresh - stale
    return [
        Row(
            what=f"{PEOPLE:,} expired tokens, one worker with {LANES} lanes: drained at",
            target="90 % of the steady throughput",
            figure=f"{per_second(rate)}: {rate / steady:.0%}, in {seconds:.0f} s "
            f"({all_in_all:.0f} s with the start of the processes)",
            floor=f"{per_second(steady)} steady",
            met=rate >= 0.9 * steady,
        ),
        Row(
            what="refreshes a token",
            target="1",
            figure=f"{len(refreshed) / PEOPLE:.4f}",
            met=len(refreshed) == PEOPLE,
        ),
        Row(
            what="most urgent first: places that a token came late",
            target=f"at most {4 * LANES} of {PEOPLE:,}",
            figure=str(late),
            floor=f"{LANES} at a time",
            met=late <= 4 * LANES,
        ),
        Row(
            what="readers meanwhile: reads that failed in another way than with TokenStale",
            target="0",
            figure=f"{failed} of {readers.met.total():,}: {fresh:,} fresh, {stale:,} stale",
            floor=f"p50 {milli(statistics.median(readers.seconds))}, "
            f"p99 {milli(statistics.quantiles(readers.seconds, n=100)[98])}",
            met=not failed,
        ),
        Row(
            what="the herd one lifetime later: peak of due tokens in a minute",
            target="at most 2 x the mean",
            figure=f"{peak:,}: {peak / mean:.2f} x",
            floor=f"{mean:,.0f}, mean of a turn of {TURN_MINUTES:.0f} minutes",
            met=peak <= 2 * mean,
            chart=Chart(
                name="recovery",
                title="Tokens due in each minute, one lifetime after the recovery",
                unit="tokens",
                labels=[str(n + 1) for n in range(len(per_minute))],
                series={"due": per_minute},
                limit=2 * mean,
                limit_name="twice the mean",
                x_name="minute",
            ),
        ),
    ]


def _due_per_minute() -> list[int]:
    """How many tokens fall due in each minute from the first that does to the last."""
    with database.cursor() as cursor:
        cursor.execute(
            """
            WITH herd AS (
                SELECT floor(extract(epoch FROM due_at - min(due_at) OVER ()) / 60) AS minute
                FROM spotify_auth_spotifytoken)
            SELECT (SELECT count(*) FROM herd WHERE herd.minute = minutes.minute)
            FROM generate_series(0, (SELECT max(minute) FROM herd)) AS minutes (minute)
            ORDER BY minutes.minute
            """
        )
        return [int(count) for (count,) in cursor.fetchall()]
