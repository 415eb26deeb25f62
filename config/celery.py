"""The Celery application: `celery -A config worker`, `celery -A config beat`."""

import os
from typing import Any

import redis
from celery import Celery, concurrency
from celery.app.amqp import AMQP
from celery.apps import worker as celery_worker
from celery.apps.beat import Beat
from celery.concurrency.thread import TaskPool
from celery.signals import (
    before_task_publish,
    celeryd_after_setup,
    setup_logging,
    task_postrun,
    task_prerun,
    worker_init,
    worker_ready,
)
from django.conf import settings
from django.db import close_old_connections
from django.db.backends.base.base import BaseDatabaseWrapper
from kombu import Connection
from kombu.asynchronous import get_event_loop
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport.redis import Transport

from config import log_context, logs
from config.idle_connections import IdleConnections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

RECONNECT_SECONDS = 2.0


class RedisTransport(Transport):
    """Celery's transport, to which a demoted or full Redis is one that is away.

    Celery's own ends the worker when a primary becomes a replica under it, and lets the
    error through to a page that sends a nudge.
    """

    connection_errors = (*Transport.connection_errors, redis.ResponseError)


class BrokerConnection(Connection):
    """Looks for a lost broker every two seconds, where Celery's own waits half a minute."""

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Connection:  # type: ignore[override]
        """Wait until the broker is there."""
        steady = {"interval_start": RECONNECT_SECONDS, "interval_step": 0}
        return super().ensure_connection(*args, **{**steady, **kwargs})


class Broker(AMQP):
    """Celery's messaging over connections of our own."""

    Connection = BrokerConnection


TRANSPORT_ALIASES |= dict.fromkeys(("redis", "rediss"), "config.celery:RedisTransport")


class Threads(TaskPool):
    """Celery's threads, each of which tells the worker when it is free.

    While all are busy the worker asks the broker for nothing (CELERY_WORKER_DISABLE_PREFETCH).
    By itself it would look for a free one only once a second.
    """

    def on_apply(self, *args: Any, **kwargs: Any) -> Any:
        """Run a task; when it has ended, wake the worker's loop."""
        result = super().on_apply(*args, **kwargs)
        if hub := get_event_loop():
            result.f.add_done_callback(lambda _: hub.call_soon(lambda: None))
        return result


concurrency.ALIASES["threads"] = "config.celery:Threads"  # type: ignore[attr-defined]


class QuietBeat(Beat):
    """Celery's beat, without the picture that it prints where the log is JSON."""

    def run(self) -> None:
        """Send tasks when they are due."""
        if settings.LOG_FORMAT == "json":
            self.quiet = True
        super().run()


app = Celery("spotify_token_keeper", amqp=Broker)
app.Beat = app.subclass_with_self(QuietBeat)  # type: ignore[misc]  # a cached property
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def log_as_django_does(**kwargs: Any) -> None:
    """With a receiver here Celery leaves the levels alone: LOG_LEVEL means all processes."""
    logs.configure(settings.LOGGING)


@celeryd_after_setup.connect
def print_nothing_else(instance: Any, **kwargs: Any) -> None:
    """Where the log is JSON: no picture at the start, and no bare line at a signal."""
    if settings.LOG_FORMAT == "json":
        instance.quiet = True
        celery_worker.safe_say = logs.say_as_json  # type: ignore[attr-defined]


before_task_publish.connect(log_context.send_request_id)
task_prerun.connect(log_context.task_begins)
task_postrun.connect(log_context.task_ended)


@task_prerun.connect
def close_broken_connections(**kwargs: Any) -> None:
    """What Django does at each request: a connection that has failed is not used again."""
    close_old_connections()


idle_connections = IdleConnections()
task_prerun.connect(idle_connections.task_begins)
task_postrun.connect(idle_connections.task_ended)
worker_ready.connect(idle_connections.start)


@worker_init.connect
def collect_no_queries(**kwargs: Any) -> None:
    """With DEBUG Django keeps the last 9000 statements of each thread, which no request clears."""
    BaseDatabaseWrapper.queries_limit = 0
