"""Expand: logins under way move to the browser, and only a used state leaves a row.

`LoginAttempt` stays for logins that the previous version begins. The next release drops it.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("spotify_auth", "0012_chores"),
    ]

    operations = [
        migrations.CreateModel(
            name="UsedLogin",
            fields=[
                (
                    "state_digest",
                    models.CharField(
                        help_text="SHA-256 of the state.",
                        max_length=64,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("used_at", models.DateTimeField()),
            ],
            options={
                "indexes": [models.Index(fields=["used_at"], name="login_used_at")],
            },
        ),
    ]
