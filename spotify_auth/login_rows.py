"""Logins that the previous version began: a row in LoginAttempt, and a cookie of its own each.

For this release: during an upgrade they come back to processes of this version, which complete
them. Nothing here makes such rows. The next release drops this module and the table.
"""

from datetime import timedelta

from django.db import connection

from spotify_auth.login_attempts import Attempt, digest
from spotify_auth.models import LoginAttempt

LIFETIME = timedelta(minutes=10)

_TAKE = """
DELETE FROM spotify_auth_loginattempt
WHERE state_digest = %s AND browser_digest = %s AND created_at > now() - make_interval(secs => %s)
RETURNING code_verifier, next_url, door, for_user, switch, extract(epoch FROM created_at)::float8
"""

_FORGET = """
DELETE FROM spotify_auth_loginattempt WHERE state_digest IN (
    SELECT state_digest FROM spotify_auth_loginattempt
    WHERE created_at < now() - make_interval(secs => %s) LIMIT %s
)
"""


def cookie_name(state: str) -> str:
    """The name of the cookie that binds this attempt to its browser."""
    return f"login_{digest(state)[:16]}"


def take(*, state: str, cookie: str) -> Attempt | None:
    """Take an attempt that the previous version began; None if there is none.

    That version noted who began it for the connect door only.
    """
    state_digest = digest(state)
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, [state_digest, digest(cookie), LIFETIME.total_seconds()])
        row = cursor.fetchone()
    if row is None:
        return None
    sealed, next_url, door, for_user, switch, begun_at = row
    verifier = LoginAttempt._meta.get_field("code_verifier")
    return Attempt(
        state_digest=state_digest,
        code_verifier=verifier.unseal(sealed, primary_key=state_digest),
        door="switch" if switch else door,
        begun_by=for_user or None,
        next_url=next_url,
        begun_at=begun_at,
    )


def forget(*, at_once: int) -> int:
    """Delete attempts that did not come back in time; how many they were."""
    with connection.cursor() as cursor:
        cursor.execute(_FORGET, [LIFETIME.total_seconds(), at_once])
        return int(cursor.rowcount)
