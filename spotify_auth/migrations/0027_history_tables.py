"""The tables of routine successes, beneath that of all events."""

from typing import Any

from django.conf import settings
from django.db import migrations

from spotify_auth.migration_operations import RunSQLInTurns

EVENTS, ROUTINE, FOLDED = (
    f"spotify_auth_{name}" for name in ("tokenevent", "routineevent", "foldedevent")
)

# The columns are in the order that leaves no gaps; those that are the same in all rows have a
# default. A table that inherits must have the same checks as its parent, by name.
TABLES = f"""
DO $$
DECLARE
    user_type text;
    checks text;
BEGIN
    SELECT format_type(atttypid, atttypmod) INTO user_type FROM pg_attribute
    WHERE attrelid = '{EVENTS}'::regclass AND attname = 'user_id';
    SELECT coalesce(string_agg(format(', CONSTRAINT %I %s', conname, pg_get_constraintdef(oid)), ''), '')
    INTO checks FROM pg_constraint WHERE conrelid = '{EVENTS}'::regclass AND contype = 'c';
    EXECUTE format($create$
        CREATE TABLE {ROUTINE} (
            id bigint NOT NULL DEFAULT nextval(%L) PRIMARY KEY,
            user_id %s NOT NULL,
            at timestamptz NOT NULL DEFAULT clock_timestamp(),
            generation_before integer,
            generation_after integer,
            lifetime_granted integer,
            lifetime_used integer,
            duration_ms integer,
            rotated boolean NOT NULL,
            ended_trouble boolean NOT NULL DEFAULT false,
            cause varchar(20) NOT NULL DEFAULT 'schedule',
            outcome varchar(20) NOT NULL DEFAULT 'refreshed',
            asked_by varchar(100) NOT NULL DEFAULT '',
            reason varchar(200) NOT NULL DEFAULT '',
            worker varchar(100) NOT NULL DEFAULT '',
            error varchar(100) NOT NULL DEFAULT ''
            %s
        )
    $create$, pg_get_serial_sequence('{EVENTS}', 'id'), user_type, checks);
END
$$;
CREATE INDEX routine_event_of_user ON {ROUTINE} (user_id, id DESC);
-- Vacuum removes what folding leaves before much of it is in the way of those who read.
ALTER TABLE {ROUTINE} SET (
    autovacuum_vacuum_scale_factor = 0.03, autovacuum_vacuum_insert_scale_factor = 0.5,
    autovacuum_analyze_scale_factor = 0.1, vacuum_index_cleanup = on
);
CREATE TABLE {FOLDED} (
    LIKE {ROUTINE} INCLUDING DEFAULTS INCLUDING CONSTRAINTS,
    began_at timestamptz NOT NULL,
    refreshes integer[] NOT NULL,
    PRIMARY KEY (id)
);
ALTER TABLE {FOLDED} ALTER id DROP DEFAULT;
CREATE INDEX folded_event_of_user ON {FOLDED} (user_id, id DESC);
ALTER TABLE {FOLDED} SET (
    autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.1
);
"""  # noqa: S608  (constants)
INHERIT = f"""
ALTER TABLE {ROUTINE} INHERIT {EVENTS};
ALTER TABLE {FOLDED} INHERIT {EVENTS};
"""
# What was folded becomes one event for each row, as it looks to whoever reads the parent.
COLUMNS = (
    "id, user_id, at, cause, asked_by, reason, outcome, generation_before, generation_after, "
    "rotated, lifetime_granted, lifetime_used, duration_ms, worker, error"
)
DISINHERIT = f"""
ALTER TABLE {ROUTINE} NO INHERIT {EVENTS};
ALTER TABLE {FOLDED} NO INHERIT {EVENTS};
INSERT INTO {EVENTS} ({COLUMNS}) OVERRIDING SYSTEM VALUE
SELECT {COLUMNS} FROM {ROUTINE} UNION ALL SELECT {COLUMNS} FROM {FOLDED};
"""  # noqa: S608


def fold_for_users(apps: Any, schema_editor: Any) -> None:
    """With ON DELETE CASCADE: a user may be deleted while their events are being folded."""
    user = apps.get_model(settings.AUTH_USER_MODEL)._meta
    quote = schema_editor.quote_name
    RunSQLInTurns(
        f"ALTER TABLE {FOLDED} ADD CONSTRAINT folded_event_of_user_fk FOREIGN KEY (user_id) "
        f"REFERENCES {quote(user.db_table)} ({quote(user.pk.column)}) "
        "ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED"
    ).database_forwards("spotify_auth", schema_editor, None, None)


class Migration(migrations.Migration):
    dependencies = [
        ("spotify_auth", "0026_history"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    # Each waits for a table, and holds it until the end: only vacuum waits for the first, but
    # logins wait for the last.
    operations = [
        migrations.RunSQL(TABLES, f"DROP TABLE IF EXISTS {ROUTINE}; DROP TABLE IF EXISTS {FOLDED}"),
        RunSQLInTurns(INHERIT, DISINHERIT),
        migrations.RunPython(fold_for_users, migrations.RunPython.noop),
    ]
