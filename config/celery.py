"""The Celery application: `celery -A config worker`, `celery -A config beat`."""

import os
from logging.config import dictConfig
from typing import Any

import redis
from celery import Celery
from celery.signals import setup_logging, task_postrun, task_prerun, worker_ready
from django.conf import settings
from django.db import close_old_connections
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport.redis import Transport

from config.idle_connections import IdleConnections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")


class RedisTransport(Transport):
    """Celery's transport, to which a demoted or full Redis is one that is away.

    Celery's own ends the worker when a primary becomes a replica under it, and lets the
    error through to a page that sends a nudge.
    """

    connection_errors = (*Transport.connection_errors, redis.ResponseError)


TRANSPORT_ALIASES |= dict.fromkeys(("redis", "rediss"), "config.celery:RedisTransport")

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


idle_connections = IdleConnections()
task_prerun.connect(idle_connections.task_begins)
task_postrun.connect(idle_connections.task_ended)
worker_ready.connect(idle_connections.start)
