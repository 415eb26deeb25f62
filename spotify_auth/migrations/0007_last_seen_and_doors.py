"""Expand: when users were seen, and which door began a login.

The previous version begins every login at the door "login", and knows nothing of the new
table: the foreign key deletes its rows when that version deletes a user.
"""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

CAUSES = [
    ("schedule", "Schedule"),
    ("stale_read", "A page met a stale token"),
    ("unauthorized", "The Web API answered 401"),
    ("admin", "An administrator asked"),
    ("login", "The user logged in"),
    ("rescue", "Stored after PostgreSQL had failed"),
    ("disconnect", "The user disconnected"),
]


def add_foreign_key(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Let PostgreSQL delete the row with its user; Django 5.2 cannot say so in a model."""
    user = apps.get_model(settings.AUTH_USER_MODEL)._meta
    quote = schema_editor.quote_name
    schema_editor.execute(
        f"ALTER TABLE spotify_auth_lastseen ADD CONSTRAINT lastseen_user FOREIGN KEY (user_id) "
        f"REFERENCES {quote(user.db_table)} ({quote(user.pk.column)}) ON DELETE CASCADE"
    )


class Migration(migrations.Migration):
    dependencies = [
        ("spotify_auth", "0006_token_failing"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="LastSeen",
            fields=[
                (
                    "user",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "seen_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
            ],
            options={"verbose_name_plural": "last seen"},
        ),
        migrations.RunPython(add_foreign_key, migrations.RunPython.noop),
        migrations.AddField(
            model_name="loginattempt",
            name="door",
            field=models.CharField(
                db_default="login",
                help_text="Which view began it: login or connect.",
                max_length=20,
            ),
        ),
        migrations.AddField(
            model_name="loginattempt",
            name="for_user",
            field=models.CharField(
                blank=True,
                db_default="",
                help_text="The primary key of the only user who may complete it; blank for a login.",
                max_length=64,
            ),
        ),
        # Words only, from here on: nothing changes in the database.
        migrations.AlterField(
            model_name="loginattempt",
            name="switch",
            field=models.BooleanField(
                db_default=False, help_text="Whether the user asked for another Spotify account."
            ),
        ),
        migrations.AlterField(
            model_name="spotifytoken",
            name="authorized_at",
            field=models.DateTimeField(help_text="When the user last approved on Spotify."),
        ),
        migrations.AlterField(
            model_name="spotifytoken",
            name="closed_at",
            field=models.DateTimeField(
                help_text="When the tokens were last erased: logins begun before are void.",
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="spotifytoken",
            name="due_cause",
            field=models.CharField(choices=CAUSES, default="schedule", max_length=20),
        ),
        migrations.AlterField(
            model_name="tokenevent",
            name="cause",
            field=models.CharField(choices=CAUSES, max_length=20),
        ),
    ]
