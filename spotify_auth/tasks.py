"""Celery's side: primary keys in, one call each. Never a token in an argument or result."""

import logging
from datetime import timedelta
from typing import Any
from uuid import UUID

from celery import shared_task
from celery.signals import (
    beat_embedded_init,
    beat_init,
    task_failure,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)

from spotify_auth import bulk, chores, housekeeping, presence, queues
from spotify_auth.celery_settings import LANE, SWEEP, WEBHOOKS
from spotify_auth.database_faults import leave_standby
from spotify_auth.figures import roll_up, statuses
from spotify_auth.history import daily_tables, folding
from spotify_auth.models import Presence, UserId
from spotify_auth.notices import reconnect_due
from spotify_auth.refresh import lanes, refresher, sweep_watch
from spotify_auth.webhooks import delivery

logger = logging.getLogger(__name__)

PREFORK = "celery.concurrency.prefork"
"""The pool of processes, Celery's default: each would run one lane, and hear of no SIGTERM."""


@shared_task(name=SWEEP)
def sweep() -> None:
    """Beat's tick: open lanes for due tokens, and enqueue due chores."""
    sweep_watch.sweep()


@shared_task(name=LANE)
def lane() -> None:
    """Refresh due tokens until none is left."""
    lanes.run_lane()


@shared_task(name="spotify_auth.refresh")
def refresh(user_id: UserId) -> None:
    """Refresh one user's token, if it is due. kombu writes a UUID into JSON, and reads it again."""
    refresher.refresh_user(user_id)


@shared_task(name="spotify_auth.house_keeping")
def house_keeping() -> None:
    """Delete what has outlived its use, if an hour has passed."""
    if chores.take(house_keeping.name) and not housekeeping.delete_expired():
        chores.give_back(house_keeping.name)


@shared_task(name="spotify_auth.count")
def count() -> None:
    """Count what is new in the history, if some seconds have passed."""
    if chores.take(count.name):
        roll_up.roll_up()


@shared_task(name="spotify_auth.fold_history")
def fold_history() -> None:
    """Fold routine events, or put their table aside at midnight, if a minute has passed."""
    if chores.take(fold_history.name):
        daily_tables.turn()
        folding.fold()


@shared_task(name="spotify_auth.count_tokens")
def count_tokens() -> None:
    """Count the tokens of each status, if a minute has passed."""
    if chores.take(count_tokens.name):
        statuses.count()


@shared_task(name="spotify_auth.notice_reconnect_due")
def notice_reconnect_due() -> None:
    """Tell applications whose six months are nearly over, if an hour has passed."""
    if chores.take(notice_reconnect_due.name):
        reconnect_due.notice_all()


@shared_task(name=bulk.TASK)
def bulk_action(pk: int) -> None:
    """Go on with an action on many tokens, for a while."""
    bulk.run(pk)


@shared_task(name=bulk.CHORE)
def bulk_actions() -> None:
    """Go on with those whose worker is gone, if a minute has passed."""
    if chores.take(bulk_actions.name):
        bulk.send_abandoned()


chores.register(bulk_actions.name, every=bulk.ABANDONED)


@shared_task(name=WEBHOOKS)
def deliver_webhooks(endpoint_id: str) -> None:
    """Send what is due to one webhook address. The argument is a UUID, as JSON has it."""
    delivery.deliver_due(UUID(endpoint_id))


chores.register(house_keeping.name, every=timedelta(hours=1))
chores.register(count.name, every=timedelta(seconds=5))
chores.register(fold_history.name, every=timedelta(minutes=1))
chores.register(count_tokens.name, every=timedelta(minutes=1))
chores.register(notice_reconnect_due.name, every=timedelta(hours=1))


@task_failure.connect
def leave_demoted_server(exception: BaseException, **kwargs: Any) -> None:
    """After a failover the thread of a task may still be connected to the former primary."""
    leave_standby(exception)


_watch = sweep_watch.SweepWatch()


@worker_ready.connect
def watch_sweeps(sender: Any, **kwargs: Any) -> None:
    """Sweep without beat if need be, and show that this worker is there."""
    runs_lanes = queues.of_task(LANE) in sender.app.amqp.queues.consume_from
    allowed = sender.controller.concurrency if runs_lanes else 0
    if runs_lanes and sender.controller.pool_cls.__module__ == PREFORK:
        logger.warning("worker_prefork lanes=%s look_at=--pool", allowed)
    _watch.start(presence.Sign(Presence.Kind.WORKER, lanes_allowed=allowed))


@worker_shutdown.connect
def no_longer_there(**kwargs: Any) -> None:
    """A worker that ends gently is not one that is missing."""
    _watch.end(within=presence.LONGEST_SECONDS)


@beat_init.connect
@beat_embedded_init.connect
def show_beat(**kwargs: Any) -> None:
    """Show that this beat is there."""
    presence.show_beat()


@worker_shutting_down.connect
def stop_lanes(**kwargs: Any) -> None:
    """On SIGTERM, lanes and chores finish what is in hand and begin no other."""
    lanes.stop_lanes()
    chores.stopping.set()
