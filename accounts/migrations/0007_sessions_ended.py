"""Expand: how often all of a user's sessions were ended.

A migration of its own: it needs the whole table of users for a moment, and must not keep that while
another statement waits. The previous version does not know the column, and does not look at it.
"""

from django.db import migrations, models

from spotify_auth.migration_operations import AddFieldInTurns


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0006_login_session"),
    ]

    operations = [
        AddFieldInTurns(
            model_name="user",
            name="sessions_ended",
            field=models.PositiveIntegerField(
                db_default=0,
                editable=False,
                help_text="How often all sessions of this user were ended.",
            ),
        ),
    ]
