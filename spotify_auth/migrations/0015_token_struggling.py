from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    # The index is built while the workers go on: no lock that a refresh would wait for.
    atomic = False

    dependencies = [
        ("spotify_auth", "0014_admin_actions"),
    ]

    operations = [
        # Of an earlier run that was cut off half way: it leaves an index that is not valid.
        migrations.RunSQL(
            "DROP INDEX CONCURRENTLY IF EXISTS token_struggling", migrations.RunSQL.noop
        ),
        AddIndexConcurrently(
            model_name="spotifytoken",
            index=models.Index(
                fields=["expires_at"],
                condition=Q(status="active", failures__gt=0),
                name="token_struggling",
            ),
        ),
    ]
