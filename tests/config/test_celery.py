"""What config/celery.py changes about Celery."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.conf import settings as live_settings
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


class EnoughError(Exception):
    """The broker was asked for as often as the test wanted."""


def test_a_worker_looks_for_its_broker_for_ever() -> None:
    """Celery's own gives up after a hundred attempts: at two seconds each, three minutes."""
    attempts: list[float] = []

    def note(error: Exception, seconds: float) -> None:
        attempts.append(seconds)
        if len(attempts) > 150:
            raise EnoughError

    with (
        celery.BrokerConnection("redis://127.0.0.1:9/0") as broker,
        pytest.raises(EnoughError),
    ):
        broker.ensure_connection(
            note, live_settings.CELERY_BROKER_CONNECTION_MAX_RETRIES, interval_start=0.001
        )

    assert len(attempts) == 151


def _statements_after_one() -> int:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return len(connection.queries_log)
    finally:
        connection.close()
