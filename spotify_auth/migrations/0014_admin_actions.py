"""Expand: why an administrator acted, and a permission for each action in the admin.

The previous version writes no reason, and asks for "change" before its actions.
"""

from django.db import migrations, models

from spotify_auth.migration_operations import AddFieldInTurns


class Migration(migrations.Migration):
    dependencies = [
        ("spotify_auth", "0013_used_logins"),
    ]

    operations = [
        AddFieldInTurns(
            model_name="tokenevent",
            name="reason",
            field=models.CharField(
                blank=True,
                db_default="",
                help_text="Why, in the administrator's words.",
                max_length=200,
            ),
        ),
        migrations.AlterField(
            model_name="tokenevent",
            name="outcome",
            field=models.CharField(
                choices=[
                    ("connected", "Connected"),
                    ("refreshed", "Refreshed"),
                    ("retry", "Failed, will be tried again"),
                    ("answer_unknown", "No usable answer: Spotify may have rotated"),
                    ("suspected", "Refused, will be asked again"),
                    ("reconnect_required", "Refused for good: reconnect required"),
                    ("disconnected", "Disconnected"),
                    ("revoked", "Revoked by an administrator"),
                    ("refresh_requested", "Refresh requested"),
                ],
                max_length=20,
            ),
        ),
        migrations.AlterModelOptions(
            name="spotifytoken",
            options={
                "permissions": (
                    ("refresh_spotifytoken", "Can have a token refreshed"),
                    ("revoke_spotifytoken", "Can revoke a token"),
                    ("pause_spotifytoken", "Can pause refreshing, and let it go on"),
                ),
                "verbose_name": "Spotify token",
            },
        ),
    ]
