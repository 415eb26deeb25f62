"""Expand: Spotify accounts and last visits, copied to the tables of spotify_auth.

`User.account_id` and `User.seen_at` stay, for the previous version and for what it writes
during the upgrade. A trigger copies the visits that it notes; a token that it makes has no
account until the next login, and the user is found by `User.account_id` (users.py). The
contract, in the next release, copies the accounts that are missing once more, and then drops
both columns, the constraint `user_has_username_or_account_id`, and the trigger.
"""

import time

from django.db import connections, migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

AT_ONCE = 500
"""Tokens per transaction: lanes skip the rows that it holds, for some milliseconds."""
PAUSE_SECONDS = 0.5
"""Between two passes, while lanes hold the rows that are left."""

# A lane holds a row for up to 29 s. Its row is skipped, and found again by a later pass.
_COPY_ACCOUNTS = """
WITH batch AS (
    SELECT token.user_id, owner.account_id
    FROM spotify_auth_spotifytoken AS token JOIN accounts_user AS owner ON owner.id = token.user_id
    WHERE token.account_id IS NULL AND owner.account_id IS NOT NULL AND token.user_id > %(after)s
    ORDER BY token.user_id
    LIMIT %(at_once)s
    FOR UPDATE OF token SKIP LOCKED
), copied AS (
    UPDATE spotify_auth_spotifytoken AS token SET account_id = batch.account_id
    FROM batch WHERE token.user_id = batch.user_id
)
SELECT max(user_id) FROM batch
"""
_LEFT = """
SELECT EXISTS (
    SELECT FROM spotify_auth_spotifytoken AS token
    JOIN accounts_user AS owner ON owner.id = token.user_id
    WHERE token.account_id IS NULL AND owner.account_id IS NOT NULL)
"""
_COPY_VISITS = """
WITH batch AS (
    SELECT id, seen_at FROM accounts_user WHERE id > %(after)s ORDER BY id LIMIT %(at_once)s
), copied AS (
    INSERT INTO spotify_auth_lastseen AS known (user_id, seen_at) SELECT id, seen_at FROM batch
    ON CONFLICT (user_id) DO UPDATE SET seen_at = greatest(known.seen_at, excluded.seen_at)
)
SELECT max(id) FROM batch
"""
_TRIGGER = """
CREATE OR REPLACE FUNCTION accounts_copy_seen_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO spotify_auth_lastseen AS known (user_id, seen_at) VALUES (NEW.id, NEW.seen_at)
    ON CONFLICT (user_id) DO UPDATE SET seen_at = greatest(known.seen_at, excluded.seen_at);
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER accounts_copy_seen_at AFTER UPDATE OF seen_at ON accounts_user
    FOR EACH ROW EXECUTE FUNCTION accounts_copy_seen_at();
"""
_NO_TRIGGER = """
DROP TRIGGER IF EXISTS accounts_copy_seen_at ON accounts_user;
DROP FUNCTION IF EXISTS accounts_copy_seen_at();
"""


def copy_accounts(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Copy every account that a token lacks, in passes, until none is left."""
    alias = schema_editor.connection.alias
    while True:
        _in_batches(alias, _COPY_ACCOUNTS)
        with connections[alias].cursor() as cursor:
            cursor.execute(_LEFT)
            (left,) = cursor.fetchone()
        if not left:
            return
        time.sleep(PAUSE_SECONDS)


def copy_visits(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Copy when each user was last seen, unless a later visit is there already."""
    _in_batches(schema_editor.connection.alias, _COPY_VISITS)


def _in_batches(alias: str, statement: str) -> None:
    """Run a statement, each time for the keys after the last one; each is a transaction."""
    after = 0
    while after is not None:
        with connections[alias].cursor() as cursor:
            cursor.execute(statement, {"after": after, "at_once": AT_ONCE})
            (after,) = cursor.fetchone()


class Migration(migrations.Migration):
    # Each batch is a transaction of its own: none holds many rows, or any for long.
    atomic = False

    dependencies = [
        ("accounts", "0003_reconnect_reminder"),
        ("spotify_auth", "0009_account_once"),
    ]

    operations = [
        # First, so that no visit falls in between.
        migrations.RunSQL(_TRIGGER, _NO_TRIGGER),
        migrations.RunPython(copy_visits, migrations.RunPython.noop),
        migrations.RunPython(copy_accounts, migrations.RunPython.noop),
    ]
