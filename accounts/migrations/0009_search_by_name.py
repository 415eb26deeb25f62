from django.db import migrations

# In SQL: Django's own OpClass wants the whole of django.contrib.postgres to be installed.
INDEXES = {"user_display_name": "display_name", "user_email": "email"}


class Migration(migrations.Migration):
    # The indexes are built while users log in: no lock that a page would wait for.
    atomic = False

    dependencies = [
        ("accounts", "0008_operators_groups"),
    ]

    operations = [
        migrations.RunSQL(sql, undo)
        for name, column in INDEXES.items()
        for sql, undo in (
            # Of an earlier run that was cut off half way: it leaves an index that is not valid.
            (f"DROP INDEX CONCURRENTLY IF EXISTS {name}", migrations.RunSQL.noop),
            (
                f"CREATE INDEX CONCURRENTLY {name} ON accounts_user"
                f" (upper({column}) text_pattern_ops)",
                f"DROP INDEX CONCURRENTLY IF EXISTS {name}",
            ),
        )
    ]
