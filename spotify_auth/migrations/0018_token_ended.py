from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    # The index is built while the workers go on: no lock that a refresh would wait for.
    atomic = False

    dependencies = [
        ("spotify_auth", "0017_figures"),
    ]

    operations = [
        # Of an earlier run that was cut off half way: it leaves an index that is not valid.
        migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS token_ended", migrations.RunSQL.noop),
        AddIndexConcurrently(
            model_name="spotifytoken",
            index=models.Index(
                fields=["status"], condition=~Q(status="active"), name="token_ended"
            ),
        ),
    ]
