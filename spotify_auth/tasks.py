"""Celery's side: primary keys in, one call each. Never a token in an argument or result."""

from datetime import timedelta
from typing import Any

from celery import shared_task
from celery.signals import task_failure, worker_ready, worker_shutting_down

from spotify_auth import chores, housekeeping
from spotify_auth.database_faults import leave_standby
from spotify_auth.models import UserId
from spotify_auth.refresh import lanes, refresher, sweep_watch


@shared_task(name="spotify_auth.sweep")
def sweep() -> None:
    """Beat's tick: open lanes for due tokens, and enqueue due chores."""
    sweep_watch.sweep()


@shared_task(name="spotify_auth.lane")
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


chores.register(house_keeping.name, every=timedelta(hours=1))


@task_failure.connect
def leave_demoted_server(exception: BaseException, **kwargs: Any) -> None:
    """After a failover the thread of a task may still be connected to the former primary."""
    leave_standby(exception)


@worker_ready.connect
def watch_sweeps(**kwargs: Any) -> None:
    """Sweep without beat if need be."""
    sweep_watch.SweepWatch().start()


@worker_shutting_down.connect
def stop_lanes(**kwargs: Any) -> None:
    """On SIGTERM, lanes and chores finish what is in hand and begin no other."""
    lanes.stop_lanes()
    chores.stopping.set()
