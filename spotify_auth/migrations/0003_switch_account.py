"""Expand: a log-in of the previous version switches nothing."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("spotify_auth", "0002_asked_by"),
    ]

    operations = [
        migrations.AddField(
            model_name="loginattempt",
            name="switch",
            field=models.BooleanField(
                db_default=False, help_text="Whether the person asked for another Spotify account."
            ),
        ),
    ]
