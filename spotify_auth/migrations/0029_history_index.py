"""The index on the user goes: `event_of_user` begins with it."""

from typing import Any

from django.conf import settings
from django.db import migrations, models
from django.db.models.deletion import CASCADE

EVENTS = "spotify_auth_tokenevent"


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
    # Lanes go on meanwhile.
    atomic = False

    dependencies = [
        ("spotify_auth", "0028_history_marks"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
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
