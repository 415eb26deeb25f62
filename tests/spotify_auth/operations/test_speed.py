"""What the page costs PostgreSQL does not grow with the tokens: it reads a part of them."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from benchmarks import million
from spotify_auth import freshness
from spotify_auth.connections import database_now
from spotify_auth.operations import looking

TOKENS = 60_000
TROUBLED = 500

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def rows_read(statement: str) -> dict[str, int]:
    """How many rows of each table a statement reads, those that it leaves out too."""
    read: dict[str, int] = {}
    with transaction.atomic(), database.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON, TIMING OFF) {statement}")
        (plan,) = cursor.fetchone()[0]
    for node in nodes(plan["Plan"]):
        if table := node.get("Relation Name"):
            rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
            read[table] = read.get(table, 0) + int(rows * node["Actual Loops"])
    return read


def test_reads_a_part_of_many_tokens_and_no_event() -> None:
    million.fill_tables(tokens=TOKENS, now=database_now() - timedelta(seconds=5))
    with database.cursor() as cursor:
        cursor.execute(
            "UPDATE spotify_auth_spotifytoken SET failures = 1, last_error = 'http_503' "
            "WHERE user_id IN (SELECT user_id FROM spotify_auth_spotifytoken LIMIT %s)",
            [TROUBLED],
        )
        cursor.execute("ANALYZE spotify_auth_spotifytoken")

    with CaptureQueriesContext(database) as captured:
        found = looking.look()

    assert found.summary.freshness.backing_off == TROUBLED
    assert len(captured) <= 15
    read: dict[str, int] = {}
    for query in captured.captured_queries:
        for table, rows in rows_read(query["sql"]).items():
            read[table] = read.get(table, 0) + rows
    most = freshness.COUNTED + freshness.NEXT_ONES + 5 * TROUBLED
    assert 0 < read["spotify_auth_spotifytoken"] <= most < TOKENS
    assert "spotify_auth_tokenevent" not in read
    assert User.objects.count() == TOKENS
