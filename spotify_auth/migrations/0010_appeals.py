"""Expand: when a verdict is appealed. The previous version appeals none.

Verdicts that it has reached are not appealed either: a million of them at once would be.
"""

from django.db import migrations, models

from spotify_auth.migration_operations import AddFieldInTurns


class Migration(migrations.Migration):
    dependencies = [
        ("spotify_auth", "0009_account_once"),
    ]

    operations = [
        AddFieldInTurns(
            model_name="spotifytoken",
            name="appeal_at",
            field=models.DateTimeField(
                help_text="When Spotify is asked again in spite of a verdict.", null=True
            ),
        ),
        AddFieldInTurns(
            model_name="spotifytoken",
            name="appeals",
            field=models.PositiveSmallIntegerField(
                db_default=0, help_text="Appeals against the present verdict that were refused."
            ),
        ),
    ]
