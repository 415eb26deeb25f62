"""Deleting what has outlived its use. Ages are measured by PostgreSQL's clock."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from importlib import import_module

from django.conf import settings as django_settings
from django.core.management import call_command
from django.db.models.functions import Now

from spotify_auth import bulk, chores, login, presence
from spotify_auth.figures import roll_up, samples
from spotify_auth.figures.tables import EventCount, FreshnessSample
from spotify_auth.history import pruning
from spotify_auth.models import Notice, Presence
from spotify_auth.refresh import saved_grants

AT_ONCE = 5000
"""Rows deleted per transaction. A long transaction would stop vacuum from removing the dead
rows that refreshes leave."""
NOTICE_DAYS = 31
"""How long a notice is kept: that of 30 days before the end of the six months must be there until
then, or it would be written again."""


def delete_expired() -> bool:
    """Delete old events, notices, logins and signs of life, orphaned grants, expired sessions.

    False if this process was told to stop in the middle.
    """
    roll_up.roll_up()  # only what is counted is deleted
    steps: tuple[Callable[[], bool], ...] = (
        *(partial(_prune_some, part) for part in pruning.PARTS),
        _delete_some_notices,
        _delete_some_sessions,
        _delete_some_logins,
        _delete_some_minutes,
        _delete_some_samples,
    )
    for delete_some in steps:
        more = True
        while more:
            with chores.unhurried():
                more = delete_some()
            if more and chores.stopping.is_set():
                return False
    Presence.objects.filter(seen_at__lt=Now() - presence.KEPT).delete()
    bulk.forget_old()
    saved_grants.delete_orphans()
    call_command("clearsessions")
    return True


def _prune_some(part: pruning.Part) -> bool:
    """Delete some of the oldest events; whether there may be more that are too old."""
    _, more = pruning.prune_some(part)
    return more


def _delete_some_notices() -> bool:
    """Delete the oldest notices that are too old; whether there may be more."""
    old = Notice.objects.filter(at__lt=Now() - timedelta(days=NOTICE_DAYS)).order_by("at")
    found = list(old.values_list("pk", flat=True)[:AT_ONCE])
    Notice.objects.filter(pk__in=found).delete()
    return len(found) == AT_ONCE


def _delete_some_sessions() -> bool:
    """Delete sessions that expired, if they are in the database; whether there may be more."""
    store = import_module(django_settings.SESSION_ENGINE).SessionStore
    if not hasattr(store, "get_model_class"):
        return False
    sessions = store.get_model_class().objects
    expired = sessions.filter(expire_date__lt=Now()).order_by("expire_date")
    found = list(expired.values_list("pk", flat=True)[:AT_ONCE])
    sessions.filter(pk__in=found).delete()
    return len(found) == AT_ONCE


def _delete_some_logins() -> bool:
    """Delete rows of logins that can no longer be completed; whether there may be more."""
    return login.forget_old(at_once=AT_ONCE) == AT_ONCE


def _delete_some_minutes() -> bool:
    """Delete old counts by the minute; those by the hour stay; whether there may be more."""
    minutes = EventCount.objects.filter(span=EventCount.Span.MINUTE)
    old = minutes.filter(begins_at__lt=Now() - roll_up.MINUTES_KEPT)
    found = list(old.values_list("pk", flat=True)[:AT_ONCE])
    EventCount.objects.filter(pk__in=found).delete()
    return len(found) == AT_ONCE


def _delete_some_samples() -> bool:
    """Delete old samples of freshness; whether there may be more."""
    old = FreshnessSample.objects.filter(at__lt=Now() - samples.KEPT)
    found = list(old.values_list("pk", flat=True)[:AT_ONCE])
    FreshnessSample.objects.filter(pk__in=found).delete()
    return len(found) == AT_ONCE
