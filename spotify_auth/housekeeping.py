"""Deleting what has outlived its use. Ages are measured by PostgreSQL's clock."""

from datetime import timedelta

from django.conf import settings
from django.core.management import call_command
from django.db.models.functions import Now

from spotify_auth import login_attempts
from spotify_auth.models import TokenEvent


def delete_expired() -> None:
    """Delete old events, log-ins that never came back, and expired sessions."""
    oldest = Now() - timedelta(days=settings.TOKEN_EVENT_RETENTION_DAYS)
    TokenEvent.objects.filter(at__lt=oldest).delete()
    login_attempts.delete_expired()
    call_command("clearsessions")
