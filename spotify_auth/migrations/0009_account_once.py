from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    # The index is built while the workers go on: no lock that a refresh would wait for.
    atomic = False

    dependencies = [
        ("spotify_auth", "0008_account_id"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                # Of an earlier run that was cut off half way: it leaves an index that is not valid.
                migrations.RunSQL(
                    "DROP INDEX CONCURRENTLY IF EXISTS token_account_once",
                    migrations.RunSQL.noop,
                ),
                migrations.RunSQL(
                    "CREATE UNIQUE INDEX CONCURRENTLY token_account_once "
                    "ON spotify_auth_spotifytoken (account_id) WHERE account_id IS NOT NULL",
                    "DROP INDEX CONCURRENTLY IF EXISTS token_account_once",
                ),
            ],
            state_operations=[
                migrations.AddConstraint(
                    model_name="spotifytoken",
                    constraint=models.UniqueConstraint(
                        fields=("account_id",),
                        condition=Q(account_id__isnull=False),
                        name="token_account_once",
                    ),
                ),
            ],
        ),
    ]
