"""Routine successes get tables of their own, and lose two indexes, a foreign key and a name.

A refresh then writes 160 bytes of history with two index entries instead of 250 with four, and
asks no foreign key: a fifth of what that cost PostgreSQL (docs/explanation/decisions.md). Four
migrations, of which each is done whole or not at all, or again: one that finds a table in use for
too long, or is killed, goes on where it was.
"""

from django.db import migrations, models

from spotify_auth.migration_operations import AddFieldInTurns

EVENTS = "spotify_auth_tokenevent"
REFUSE_PARTITIONS = f"""
DO $$
BEGIN
    IF (SELECT relkind FROM pg_class WHERE oid = '{EVENTS}'::regclass) = 'p' THEN
        RAISE EXCEPTION '{EVENTS} is partitioned by hand: undo that first, see docs/how-to/partition-history.md, "Partitioned as earlier versions described it"';
    END IF;
END
$$
"""  # noqa: S608  (a constant)


class Migration(migrations.Migration):
    dependencies = [
        ("spotify_auth", "0025_operations"),
    ]

    operations = [
        migrations.RunSQL(REFUSE_PARTITIONS, migrations.RunSQL.noop),
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
    ]
