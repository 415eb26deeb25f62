"""Expand: the verbs of operators.

The previous version claims active tokens alone, so it leaves paused ones in peace, but it knows
nothing of a pause of all refreshing (docs/how-to/upgrade.md).
"""

import django.db.models.functions.datetime
from django.db import migrations, models

from spotify_auth.migration_operations import RunSQLInTurns


class Migration(migrations.Migration):
    dependencies = [
        ("spotify_auth", "0017_figures"),
    ]

    operations = [
        migrations.CreateModel(
            name="ServicePause",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "since",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                ("by", models.CharField(help_text="Who ordered it.", max_length=100)),
                ("reason", models.CharField(help_text="Why, in their words.", max_length=200)),
                (
                    "ended_at",
                    models.DateTimeField(
                        help_text="Empty: nobody refreshes a token now.", null=True
                    ),
                ),
                ("ended_by", models.CharField(blank=True, db_default="", max_length=100)),
                ("end_reason", models.CharField(blank=True, db_default="", max_length=200)),
            ],
            options={
                "permissions": (
                    (
                        "operate_service",
                        "Can pause all refreshing, resume it, and lift a cool-down",
                    ),
                ),
            },
        ),
        migrations.AlterModelOptions(
            name="spotifytoken",
            options={
                "permissions": (
                    ("refresh_spotifytoken", "Can have a token refreshed"),
                    ("revoke_spotifytoken", "Can revoke a token"),
                    ("pause_spotifytoken", "Can pause refreshing, and let it go on"),
                    (
                        "judge_spotifytoken",
                        "Can believe or forgive a refusal, and require a reconnect",
                    ),
                ),
                "verbose_name": "Spotify token",
            },
        ),
        migrations.AlterField(
            model_name="spotifytoken",
            name="status",
            field=models.CharField(
                choices=[
                    ("active", "Connected"),
                    ("reconnect_required", "Reconnect required"),
                    ("paused", "Paused"),
                    ("disconnected", "Disconnected"),
                    ("revoked", "Revoked"),
                ],
                default="active",
                max_length=20,
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
                    ("reconnect_required", "Reconnect required"),
                    ("disconnected", "Disconnected"),
                    ("revoked", "Revoked by an administrator"),
                    ("refresh_requested", "Refresh requested"),
                    ("paused", "Paused by an administrator"),
                    ("resumed", "Resumed by an administrator"),
                    ("forgiven", "Forgiven by an administrator, will be asked again"),
                ],
                max_length=20,
            ),
        ),
        migrations.AddConstraint(
            model_name="servicepause",
            constraint=models.UniqueConstraint(
                models.ExpressionWrapper(
                    models.Q(("ended_at__isnull", True)), output_field=models.BooleanField()
                ),
                condition=models.Q(("ended_at__isnull", True)),
                name="service_paused_once",
            ),
        ),
        # Last, since it locks the table of tokens until the migration ends; NOT VALID, since there
        # is no paused row to be looked for.
        migrations.SeparateDatabaseAndState(
            database_operations=[
                RunSQLInTurns(
                    "ALTER TABLE spotify_auth_spotifytoken ADD CONSTRAINT token_kept_while_paused "
                    "CHECK (status <> 'paused' "
                    "OR (access_token IS NOT NULL AND refresh_token IS NOT NULL)) NOT VALID",
                    "ALTER TABLE spotify_auth_spotifytoken DROP CONSTRAINT token_kept_while_paused",
                ),
            ],
            state_operations=[
                migrations.AddConstraint(
                    model_name="spotifytoken",
                    constraint=models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status", "paused"), _negated=True),
                            models.Q(
                                ("access_token__isnull", False), ("refresh_token__isnull", False)
                            ),
                            _connector="OR",
                        ),
                        name="token_kept_while_paused",
                    ),
                ),
            ],
        ),
    ]
