"""Expand: the previous version neither reads nor writes these columns, and need not."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("spotify_auth", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="spotifytoken",
            name="asked_by",
            field=models.CharField(
                blank=True,
                db_default="",
                help_text="The page or the administrator behind due_cause, where somebody asked.",
                max_length=100,
            ),
        ),
        migrations.AddField(
            model_name="tokenevent",
            name="asked_by",
            field=models.CharField(
                blank=True,
                db_default="",
                help_text="The page or the administrator behind the cause.",
                max_length=100,
            ),
        ),
    ]
