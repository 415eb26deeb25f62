"""The Celery application: `celery -A config worker`, `celery -A config beat`."""

import os
from logging.config import dictConfig
from typing import Any

from celery import Celery
from celery.signals import setup_logging, task_prerun
from django.conf import settings
from django.db import close_old_connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("spotify_token_keeper")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def log_as_django_does(**kwargs: Any) -> None:
    """With a receiver here Celery leaves the levels alone: LOG_LEVEL means all processes."""
    dictConfig(settings.LOGGING)


@task_prerun.connect
def close_broken_connections(**kwargs: Any) -> None:
    """What Django does at each request: a connection that has failed is not used again."""
    close_old_connections()
