"""Another project's Celery application, in place of ours for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

from celery import Celery
from django.conf import settings

from config.celery import app


@contextmanager
def another_app(**changes: object) -> Iterator[Celery]:
    """One with these settings instead of ours, for all threads: `task_routes=None`, say."""
    other = Celery("another", set_as_current=False)
    other.config_from_object(settings, namespace="CELERY")
    other.conf.update(**changes)
    other.set_default()
    other.set_current()
    try:
        yield other
    finally:
        app.set_default()
        app.set_current()
        other.close()
