"""Celery's tasks of this app: one call each."""

from datetime import timedelta

from celery import shared_task

from accounts import reminders
from spotify_auth import chores


@shared_task(name="accounts.remind")
def remind() -> None:
    """Send the mails that remind of the end of the six months, if ten minutes have passed."""
    if chores.take(remind.name):
        reminders.remind()


chores.register(remind.name, every=timedelta(minutes=10))
