"""What config/celery.py changes about Celery."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from pytest_django import Settings

from config import celery


@pytest.mark.django_db(transaction=True)
def test_a_worker_collects_no_statements(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DEBUG = True
    limit = BaseDatabaseWrapper.queries_limit
    monkeypatch.setattr(BaseDatabaseWrapper, "queries_limit", limit)  # put back in the end

    celery.collect_no_queries()

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(_statements_after_one).result() == 0


def _statements_after_one() -> int:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return len(connection.queries_log)
    finally:
        connection.close()
