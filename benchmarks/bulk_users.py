"""Many users, connected in bulk: their tokens are real ones of the sandbox."""

from collections.abc import Iterable
from datetime import timedelta

from django.db import connection as database

from accounts.models import User
from spotify_auth.connections import database_now
from spotify_auth.models import SpotifyToken
from tests.support.sandbox_client import Sandbox

_AT_ONCE = 2000


def connect_people(sandbox: Sandbox, count: int) -> list[User]:
    """Connect this number of new users; none of their tokens is due for the next hour."""
    SpotifyToken.objects.all().delete()
    people: list[User] = []
    for start in range(0, count, _AT_ONCE):
        names = [f"user-{n}" for n in range(start, min(count, start + _AT_ONCE))]
        people += _connect(sandbox, names)
    with database.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE spotify_auth_spotifytoken")
    return people


def _connect(sandbox: Sandbox, names: Iterable[str]) -> list[User]:
    answers = sandbox.connect(names)
    User.objects.bulk_create(
        (
            User(username=None, account_id=answer["account_id"], display_name=name)
            for name, answer in answers.items()
        ),
        ignore_conflicts=True,
    )
    accounts = {answer["account_id"]: answer for answer in answers.values()}
    people = list(User.objects.filter(account_id__in=accounts))
    now = database_now()
    SpotifyToken.objects.bulk_create(
        SpotifyToken(
            user=person,
            access_token=accounts[str(person.account_id)]["access_token"],
            refresh_token=accounts[str(person.account_id)]["refresh_token"],
            scope=accounts[str(person.account_id)]["scope"],
            authorized_at=now,
            reauthorize_by=now + timedelta(days=182),
            refreshed_at=now,
            expires_at=now + timedelta(seconds=accounts[str(person.account_id)]["expires_in"]),
            due_at=now + timedelta(hours=1),
        )
        for person in people
    )
    return people


def make_all_due() -> None:
    """Let every token be due, in a random order; the access tokens still live."""
    _set_due("now() - random() * interval '1 minute'", where="true")


def make_none_due() -> None:
    """Let nothing be due for the next hour: lanes end after the exchange in hand."""
    _set_due("now() + interval '1 hour'", where="due_at <= now()")


def _set_due(moment: str, *, where: str) -> None:
    # A token that a lane holds is left to it: waiting for one lane after the other while
    # holding the rows of many could end in a deadlock.
    with database.cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE spotify_auth_spotifytoken SET due_at = {moment}
            WHERE user_id IN (SELECT user_id FROM spotify_auth_spotifytoken WHERE {where}
                              FOR UPDATE SKIP LOCKED)
            """  # noqa: S608  (both are constants of this module)
        )
