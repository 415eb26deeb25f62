"""Celery's tasks of this app: one call each."""

from celery import shared_task

from accounts import reminders


@shared_task(name="accounts.remind")
def remind() -> None:
    """Send the mails that remind of the end of the six months."""
    reminders.remind()
