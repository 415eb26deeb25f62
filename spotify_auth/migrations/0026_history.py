"""Routine successes get tables of their own, and lose two indexes, a foreign key and a name.

A refresh then writes 160 bytes of history with two index entries instead of 250 with four, and
asks no foreign key: a fifth of what that cost PostgreSQL (docs/explanation/decisions.md).
"""

from typing import Any

from django.conf import settings
from django.db import migrations, models
from django.db.models import Q
from django.db.models.deletion import CASCADE

from spotify_auth.migration_operations import AddFieldInTurns, RunSQLInTurns

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
    IF (SELECT relkind FROM pg_class WHERE oid = '{EVENTS}'::regclass) = 'p' THEN
        RAISE EXCEPTION '{EVENTS} is partitioned by hand: undo that first, see docs/how-to/partition-history.md, "Partitioned as earlier versions described it"';
    END IF;
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
MARKS = """
INSERT INTO spotify_auth_historymark (id) VALUES (1) ON CONFLICT DO NOTHING;
INSERT INTO spotify_auth_rolledup (id, event_id) VALUES (1, 0) ON CONFLICT DO NOTHING;
UPDATE spotify_auth_rolledup SET counted_to = event_id, event_id = 9223372036854775807;
"""
UNMARK = "UPDATE spotify_auth_rolledup SET event_id = counted_to"


def fold_for_users(apps: Any, schema_editor: Any) -> None:
    """With ON DELETE CASCADE: a user may be deleted while their events are being folded."""
    user = apps.get_model(settings.AUTH_USER_MODEL)._meta
    quote = schema_editor.quote_name
    RunSQLInTurns(
        f"ALTER TABLE {FOLDED} ADD CONSTRAINT folded_event_of_user_fk FOREIGN KEY (user_id) "
        f"REFERENCES {quote(user.db_table)} ({quote(user.pk.column)}) "
        "ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED"
    ).database_forwards("spotify_auth", schema_editor, None, None)


def drop_user_index(apps: Any, schema_editor: Any) -> None:
    """Django's own name for it, whatever that is here."""
    with schema_editor.connection.cursor() as cursor:
        for name in _user_indexes(schema_editor):
            cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {schema_editor.quote_name(name)}")


def make_user_index(apps: Any, schema_editor: Any) -> None:
    """It is built while the lanes go on."""
    model = apps.get_model("spotify_auth", "TokenEvent")
    name = schema_editor.quote_name(schema_editor._create_index_name(EVENTS, ["user_id"]))
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        cursor.execute(f"CREATE INDEX CONCURRENTLY {name} ON {model._meta.db_table} (user_id)")


def _user_indexes(schema_editor: Any) -> list[str]:
    with schema_editor.connection.cursor() as cursor:
        found = schema_editor.connection.introspection.get_constraints(cursor, EVENTS)
    return [
        name
        for name, about in found.items()
        if about["index"] and about["columns"] == ["user_id"] and not about["unique"]
    ]


class Migration(migrations.Migration):
    # No lock that a lane would wait for, but for moments.
    atomic = False

    dependencies = [
        ("spotify_auth", "0025_operations"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        AddFieldInTurns(
            model_name="tokenevent",
            name="ended_trouble",
            field=models.BooleanField(
                db_default=False,
                help_text="Whether this refresh came after failures, and ended them.",
            ),
        ),
        migrations.AlterField(
            model_name="tokenevent",
            name="worker",
            field=models.CharField(
                blank=True,
                max_length=100,
                help_text="Not of routine successes: they are too many.",
            ),
        ),
        migrations.RunSQL(TABLES, f"DROP TABLE IF EXISTS {ROUTINE}; DROP TABLE IF EXISTS {FOLDED}"),
        migrations.RunPython(fold_for_users, migrations.RunPython.noop),
        RunSQLInTurns(INHERIT, DISINHERIT),
        migrations.CreateModel(
            name="HistoryMark",
            fields=[
                (
                    "id",
                    models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False),
                ),
                (
                    "round_at",
                    models.DateTimeField(help_text="When the present round began.", null=True),
                ),
                (
                    "fold_to",
                    models.BigIntegerField(
                        db_default=0,
                        help_text="Routine events up to this are folded in the present round.",
                    ),
                ),
                (
                    "folded_user",
                    models.CharField(
                        blank=True,
                        db_default="",
                        help_text="The user up to whom the round has come; blank: at the first.",
                        max_length=64,
                    ),
                ),
                ("round_is_over", models.BooleanField(db_default=True)),
                (
                    "routine_to",
                    models.BigIntegerField(
                        db_default=0,
                        help_text="TokenEvents up to this have no routine among them.",
                    ),
                ),
                (
                    "folded_to",
                    models.BigIntegerField(
                        db_default=0, help_text="Folded events up to this are deleted."
                    ),
                ),
                (
                    "all_to",
                    models.BigIntegerField(
                        db_default=0, help_text="TokenEvents up to this are deleted."
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=Q(id=1), name="history_mark_one_row")
                ],
            },
        ),
        migrations.AddField(
            model_name="rolledup",
            name="counted_to",
            field=models.BigIntegerField(
                db_default=0, help_text="All events up to this are counted."
            ),
        ),
        migrations.AlterField(
            model_name="rolledup",
            name="event_id",
            field=models.BigIntegerField(
                db_default=9223372036854775807,
                help_text="The same for the previous version: beyond all.",
            ),
        ),
        migrations.RunSQL(MARKS, UNMARK),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField(
                    model_name="tokenevent",
                    name="user",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=CASCADE,
                        related_name="token_events",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            database_operations=[migrations.RunPython(drop_user_index, make_user_index)],
        ),
    ]
