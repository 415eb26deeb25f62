from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models
from django.db.models import Q

INDEXES = (
    models.Index(fields=["last_error", "-user"], condition=~Q(last_error=""), name="token_error"),
    models.Index(
        fields=["suspected_at"], condition=Q(suspected_at__isnull=False), name="token_suspected"
    ),
    models.Index(
        fields=["status", "-user"], condition=~Q(status="active"), name="token_not_active"
    ),
    models.Index(
        fields=["reauthorize_by"], condition=Q(status="active"), name="token_reconnect_by"
    ),
)


class Migration(migrations.Migration):
    # The indexes are built while the workers go on: no lock that a refresh would wait for.
    atomic = False

    dependencies = [
        ("spotify_auth", "0021_notices"),
    ]

    operations = [
        operation
        for index in INDEXES
        for operation in (
            # Of an earlier run that was cut off half way: it leaves an index that is not valid.
            migrations.RunSQL(
                f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}", migrations.RunSQL.noop
            ),
            AddIndexConcurrently(model_name="spotifytoken", index=index),
        )
    ] + [
        # The first of these does its work too.
        RemoveIndexConcurrently(model_name="spotifytoken", name="token_failing"),
    ]
