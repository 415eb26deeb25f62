"""Browsers in the admin."""

from django.test import Client

from accounts.admin_site import mark_session
from accounts.models import User


def enter_admin(client: Client, user: User) -> None:
    """Log in as by the admin's form, without the time that hashing a password takes."""
    client.force_login(user)
    session = client.session
    mark_session(session, user, device_id="")
    session.save()
