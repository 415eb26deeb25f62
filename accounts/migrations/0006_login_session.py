"""Expand: whose a session is.

The previous version does not know these rows: the foreign keys delete them with what that version
deletes. A session's key changes once, when it is put under its digest: the row follows.
"""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

from spotify_auth.migration_operations import RunSQLInTurns

ADD_FOREIGN_KEYS = """
ALTER TABLE accounts_loginsession
    ADD CONSTRAINT loginsession_session FOREIGN KEY (session_id)
        REFERENCES django_session (session_key) ON DELETE CASCADE ON UPDATE CASCADE,
    ADD CONSTRAINT loginsession_user FOREIGN KEY (user_id)
        REFERENCES accounts_user (id) ON DELETE CASCADE
"""


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0005_admin_groups"),
        ("sessions", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="LoginSession",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("user_agent", models.CharField(blank=True, db_default="", max_length=255)),
                (
                    "since",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                (
                    "seen_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        help_text="When a page last met it, to within an hour.",
                    ),
                ),
                (
                    "session",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="login",
                        to="sessions.session",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="login_sessions",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        RunSQLInTurns(ADD_FOREIGN_KEYS, migrations.RunSQL.noop),
    ]
