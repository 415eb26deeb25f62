"""The operations page over a million tokens and a day of counted events: what a look costs."""

from collections.abc import Callable
from statistics import median
from time import perf_counter

from django.db import connection
from django.test import Client
from django.test.utils import override_settings

from accounts.models import User
from benchmarks.measurement import Row, milli
from benchmarks.million import million_tokens
from spotify_auth.operations import looking
from tests.support.admin import enter_admin

TITLE = "The operations page, over a million tokens"
TIMES = 9
TARGET_SECONDS = 0.05
DATABASE = "benchmark_operations"
_PART = "/admin/spotify_auth/operations/figures/"

# 370 refreshes a second, counted by the minute for a week and by the hour for a month.
_COUNTS = """
INSERT INTO spotify_auth_eventcount
    (span, begins_at, outcome, events, rotated, exchanges, milliseconds, buckets)
SELECT span, date_trunc(span, now()) - n * step, outcome, events, events, events, events * 200,
       array_fill((events / 14)::bigint, ARRAY[14])
FROM (VALUES ('minute', interval '1 minute', 10080, 22200),
             ('hour', interval '1 hour', 720, 1332000)) AS spans (span, step, steps, events),
     generate_series(0, steps - 1) AS n,
     unnest(ARRAY['refreshed', 'retry', 'suspected', 'connected', 'answer_unknown']) AS outcome;
INSERT INTO spotify_auth_freshnesssample (at, connected, stale, refused, overdue, stale_seconds)
SELECT now() - n * interval '1 minute', 1000000, 0, 0, 40, 0 FROM generate_series(1, 46080) AS n;
"""
# An outage of a quarter of an hour: a third of the tokens back off or wait, a tenth is stale.
_OUTAGE = """
UPDATE spotify_auth_spotifytoken SET due_at = now() - random() * interval '15 minutes',
    expires_at = now() + (random() - 0.3) * interval '15 minutes',
    failures = (user_id % 2)::int, last_error = CASE user_id % 2 WHEN 1 THEN 'http_503' ELSE '' END
WHERE user_id % 3 = 0
"""


def run(*, long: bool) -> list[Row]:
    """On a quiet day, and in the midst of an outage; the middle one of several looks counts."""
    with million_tokens(DATABASE):
        _execute(_COUNTS)
        with override_settings(ALLOWED_HOSTS=["*"]):
            client = Client(SERVER_NAME="127.0.0.1")
            root = User.objects.create(username="root", is_staff=True, is_superuser=True)
            enter_admin(client, root)

            def part() -> None:
                assert client.get(_PART).status_code == 200

            quiet, whole = _time(looking.look), _time(part)
            _execute(_OUTAGE)
            outage = _time(looking.look)
    return [
        Row(
            what="all queries of the page, on a quiet day",
            target=f"under {milli(TARGET_SECONDS)}",
            figure=milli(quiet),
            met=quiet < TARGET_SECONDS,
        ),
        Row(what="the part that is asked for again, as a whole", target="", figure=milli(whole)),
        Row(
            what="all queries, while a third of the tokens wait or back off",
            target="",
            figure=milli(outage),
        ),
    ]


def _execute(statements: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statements)
        cursor.execute("VACUUM ANALYZE")


def _time(look: Callable[[], object]) -> float:
    look()
    times = []
    for _ in range(TIMES):
        began = perf_counter()
        look()
        times.append(perf_counter() - began)
    return median(times)
