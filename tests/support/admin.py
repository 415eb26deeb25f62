"""Browsers in the admin, and what administrators may do."""

from importlib import import_module

from django.apps import apps
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import Group
from django.test import Client

from accounts.admin_site import mark_session
from accounts.models import User

PASSWORD = "correct horse battery"


def enter_admin(client: Client, user: User) -> None:
    """Log in as by the admin's form, without the time that hashing a password takes."""
    client.force_login(user)
    session = client.session
    mark_session(session, user, device_id="")
    session.save()


def group(name: str) -> Group:
    """A group as its migration makes it: tests that empty the tables take it away."""
    for migration in ("0005_admin_groups", "0008_operators_groups"):
        import_module(f"accounts.migrations.{migration}").make_groups(apps, None)
    return Group.objects.get(name=name)


class QuickHasher(PBKDF2PasswordHasher):
    """Django's hasher with one round: the service can check what it has hashed."""

    iterations = 1


class CountedHasher(QuickHasher):
    """The same, which counts how often it hashes."""

    hashed = 0

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        """Hash, and count."""
        type(self).hashed += 1
        encoded: str = super().encode(password, salt, iterations)
        return encoded


QUICK = f"{QuickHasher.__module__}.{QuickHasher.__qualname__}"
COUNTED = f"{CountedHasher.__module__}.{CountedHasher.__qualname__}"
