"""Expand: a table that the previous version does not know."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_seen_at"),
    ]

    operations = [
        migrations.CreateModel(
            name="ReconnectReminder",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("reauthorize_by", models.DateTimeField()),
                (
                    "days",
                    models.PositiveSmallIntegerField(help_text="Days before the end: 30, 7 or 1."),
                ),
                ("sent_at", models.DateTimeField(null=True)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("sent_at", None)),
                        fields=["id"],
                        name="reminder_waiting",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("user", "reauthorize_by", "days"), name="reminder_sent_once"
                    )
                ],
            },
        ),
    ]
