"""What an operator's page and a scrape of `/metrics` ask: a million tokens, years of counts."""

import statistics
import time
from collections.abc import Callable
from datetime import timedelta

from django.db import connection

from benchmarks.measurement import Row, milli, per_second
from benchmarks.million import million_tokens
from spotify_auth import presence
from spotify_auth.figures import counts, roll_up, samples, statuses, summary

TITLE = "Figures for operators"
EVENTS = 200_000
TURNS = 30
_DATABASE = "bench_figures"

# A tenth has left, some back off, and what fell due in the last three seconds waits for a lane.
_LEAVE = """
UPDATE spotify_auth_spotifytoken SET status = 'disconnected', access_token = NULL,
    refresh_token = NULL WHERE user_id % 10 = 0
"""
_FAIL = "UPDATE spotify_auth_spotifytoken SET failures = 1 WHERE user_id % 5000 = 1"
_FALL_DUE = """
UPDATE spotify_auth_spotifytoken SET due_at = now() - interval '3 seconds' * random()
WHERE status = 'active' AND user_id % 1000 = 3
"""
# A week of minutes, five years of hours, a month of samples.
_COUNTS = """
INSERT INTO spotify_auth_eventcount
    (span, begins_at, outcome, events, rotated, exchanges, milliseconds, buckets)
SELECT span, moment, outcome, 20000, 20000, 20000, 4000000, array_fill(1500::bigint, ARRAY[14])
FROM unnest(ARRAY['refreshed', 'retry', 'suspected', 'connected']) AS outcome, (
    SELECT 'minute' AS span, generate_series(
        date_trunc('minute', now()) - interval '7 days', now(), interval '1 minute') AS moment
    UNION ALL SELECT 'hour', generate_series(
        date_trunc('hour', now()) - interval '5 years', now(), interval '1 hour')
    UNION ALL SELECT 'ever', '1970-01-01T00:00Z'
) AS moments
"""
_SAMPLES = """
INSERT INTO spotify_auth_freshnesssample (at, connected, stale, refused, overdue, stale_seconds)
SELECT generate_series(now() - interval '32 days', now(), interval '1 minute'),
       900000, 20, 5, 300, 9
"""
_EVENTS = """
INSERT INTO spotify_auth_tokenevent
    (user_id, at, cause, outcome, rotated, duration_ms, worker, error)
SELECT 1 + n %% 100000, now() - make_interval(secs => n / 300.0), 'schedule', 'refreshed', true,
       50 + n %% 400, 'a:1', '' FROM generate_series(1, %s) AS n
"""


def run(*, long: bool) -> list[Row]:
    """Each question alone, all of them together, and counting the history."""
    with million_tokens(_DATABASE):
        return _rows(turns=TURNS * (5 if long else 1))


def _rows(*, turns: int) -> list[Row]:
    with connection.cursor() as cursor:
        for statement in (_LEAVE, _FAIL, _FALL_DUE, _COUNTS, _SAMPLES, "VACUUM ANALYZE"):
            cursor.execute(statement)
        cursor.execute(_EVENTS, [EVENTS])
    begun = time.perf_counter()
    roll_up.roll_up()
    counted = EVENTS / (time.perf_counter() - begun)
    statuses.count()

    def page() -> None:
        summary.look()
        presence.seen()
        counts.since(timedelta(hours=6))
        counts.latency_since(timedelta(hours=1))

    scraped, asked = _median(summary.look, turns), _median(page, turns)
    return [
        Row(
            what="all figures of the operations page, a million tokens",
            target="under 50 ms",
            figure=milli(asked),
            met=asked < 0.05,
        ),
        Row(
            what="a scrape of /metrics",
            target="under 50 ms",
            figure=milli(scraped),
            met=scraped < 0.05,
        ),
        Row(
            what="a sample of freshness, once a minute",
            target="",
            figure=milli(_median(_sample, 5)),
        ),
        Row(
            what="tokens by status, once a minute",
            target="",
            figure=milli(_median(statuses.count, 5)),
        ),
        Row(what="events counted, by one worker", target="", figure=per_second(counted)),
    ]


def _sample() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM spotify_auth_chore WHERE name = %s", [samples.SAMPLE])
    samples.take_sample()


def _median(ask: Callable[[], object], turns: int) -> float:
    times = []
    for _ in range(turns):
        begun = time.perf_counter()
        ask()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)
