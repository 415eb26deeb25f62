"""Expand: whose tokens they are at Spotify. The previous version leaves the column empty."""

from django.db import migrations, models

from spotify_auth.migration_operations import AddFieldInTurns


class Migration(migrations.Migration):
    dependencies = [
        ("spotify_auth", "0007_last_seen_and_doors"),
    ]

    operations = [
        AddFieldInTurns(
            model_name="spotifytoken",
            name="account_id",
            field=models.CharField(
                editable=False,
                help_text="The account that granted the tokens: one user's only, and it never changes.",
                max_length=255,
                null=True,
                verbose_name="Spotify account ID",
            ),
        ),
    ]
