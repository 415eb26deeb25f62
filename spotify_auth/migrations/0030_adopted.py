"""Expand: whether it is known when a user approved. What the previous version stores, it knows."""

from django.db import migrations, models

from spotify_auth.migration_operations import AddFieldInTurns

CAUSES = [
    ("schedule", "Schedule"),
    ("stale_read", "A page met a stale token"),
    ("unauthorized", "The Web API answered 401"),
    ("admin", "An administrator asked"),
    ("login", "The user logged in"),
    ("adopted", "Tokens obtained elsewhere"),
    ("rescue", "Stored after PostgreSQL had failed"),
    ("appeal", "Asked again after a verdict"),
    ("disconnect", "The user disconnected"),
]


class Migration(migrations.Migration):
    dependencies = [
        ("spotify_auth", "0029_history_index"),
    ]

    operations = [
        AddFieldInTurns(
            model_name="spotifytoken",
            name="authorized_at_known",
            field=models.BooleanField(
                db_default=True,
                default=True,
                help_text="If not, the user approved then or earlier: nobody is asked to reconnect by it.",
            ),
        ),
        # Words only, from here on: nothing changes in the database.
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
