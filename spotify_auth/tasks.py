"""Celery's side: primary keys in, one call each. Never a token in an argument or result."""

from typing import Any

from celery import shared_task
from celery.signals import worker_shutting_down

from spotify_auth import housekeeping
from spotify_auth.models import UserId
from spotify_auth.refresh import lanes, refresher


@shared_task(name="spotify_auth.sweep")
def sweep() -> None:
    """Beat's tick: open lanes for what is due."""
    lanes.open_lanes()


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
    """Delete what has outlived its use."""
    housekeeping.delete_expired()


@worker_shutting_down.connect
def stop_lanes(**kwargs: Any) -> None:
    """On SIGTERM, lanes finish the exchange in hand and begin no other."""
    lanes.stop_lanes()
