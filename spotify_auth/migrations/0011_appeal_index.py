"""The index of appeals, and words: nothing else changes in the database."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import Q

CAUSES = [
    ("schedule", "Schedule"),
    ("stale_read", "A page met a stale token"),
    ("unauthorized", "The Web API answered 401"),
    ("admin", "An administrator asked"),
    ("login", "The user logged in"),
    ("rescue", "Stored after PostgreSQL had failed"),
    ("appeal", "Asked again after a verdict"),
    ("disconnect", "The user disconnected"),
]
OUTCOMES = [
    ("connected", "Connected"),
    ("refreshed", "Refreshed"),
    ("retry", "Failed, will be tried again"),
    ("answer_unknown", "No usable answer: Spotify may have rotated"),
    ("suspected", "Refused, will be asked again"),
    ("reconnect_required", "Refused for good: reconnect required"),
    ("disconnected", "Disconnected"),
    ("revoked", "Revoked by an administrator"),
]


class Migration(migrations.Migration):
    # The index is built while the workers go on: no lock that a refresh would wait for.
    atomic = False

    dependencies = [
        ("spotify_auth", "0010_appeals"),
    ]

    operations = [
        # Of an earlier run that was cut off half way: it leaves an index that is not valid.
        migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS token_appeal", migrations.RunSQL.noop),
        AddIndexConcurrently(
            model_name="spotifytoken",
            index=models.Index(
                fields=["appeal_at"],
                condition=Q(status="reconnect_required", appeal_at__isnull=False),
                name="token_appeal",
            ),
        ),
        migrations.AlterField(
            model_name="spotifytoken",
            name="due_cause",
            field=models.CharField(choices=CAUSES, default="schedule", max_length=20),
        ),
        migrations.AlterField(
            model_name="spotifytoken",
            name="suspected_at",
            field=models.DateTimeField(
                help_text="When Spotify first answered invalid_grant since the last grant.",
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="tokenevent",
            name="cause",
            field=models.CharField(choices=CAUSES, max_length=20),
        ),
        migrations.AlterField(
            model_name="tokenevent",
            name="outcome",
            field=models.CharField(choices=OUTCOMES, max_length=20),
        ),
    ]
