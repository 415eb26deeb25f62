"""Tokens of many people at once, which nobody can read."""

from django.db import connection as database

_FILL = """
WITH people AS (
    INSERT INTO accounts_user (password, is_superuser, first_name, last_name, email, is_staff,
        is_active, date_joined, account_id, display_name)
    SELECT '', false, '', '', '', false, true, now(), 'many-' || n, 'Listener ' || n
    FROM generate_series(1, %s) AS n RETURNING id
)
INSERT INTO spotify_auth_spotifytoken (user_id, status, access_token, refresh_token, scope,
    generation, authorized_at, reauthorize_by, refreshed_at, expires_at, due_at, due_cause,
    failures, last_error)
SELECT id, 'active', 'x', 'x', '', 1, now(), now() + interval '6 months', now(),
    now() + interval '1 hour', now() + interval '1 hour', 'schedule', 0, ''
FROM people
"""


def fill(people: int) -> None:
    """Store healthy tokens of so many people, due in an hour, and let PostgreSQL count them."""
    with database.cursor() as cursor:
        cursor.execute(_FILL, [people])
        cursor.execute("ANALYZE spotify_auth_spotifytoken")
