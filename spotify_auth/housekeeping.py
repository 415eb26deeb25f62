"""Deleting what has outlived its use. Ages are measured by PostgreSQL's clock."""

from datetime import timedelta

from django.core.management import call_command
from django.db.models.functions import Now

from spotify_auth import login
from spotify_auth.conf import settings
from spotify_auth.models import TokenEvent
from spotify_auth.refresh import saved_grants

AT_ONCE = 5000
"""Events deleted per transaction. A long transaction would stop vacuum from removing the dead
rows that refreshes leave."""


def delete_expired() -> None:
    """Delete old events, logins that never came back, orphaned grants and expired sessions."""
    while _delete_some_events():
        pass
    login.delete_expired()
    saved_grants.delete_orphans()
    call_command("clearsessions")


def _delete_some_events() -> bool:
    """Delete the oldest events that are too old; whether there may be more."""
    oldest = Now() - timedelta(days=settings.TOKEN_EVENT_RETENTION_DAYS)
    old = TokenEvent.objects.filter(at__lt=oldest).order_by("at").values_list("pk", flat=True)
    found = list(old[:AT_ONCE])
    TokenEvent.objects.filter(pk__in=found).delete()
    return len(found) == AT_ONCE
