"""How far house-keeping is with each table of the history."""

from django.db import migrations, models
from django.db.models import Q

MARKS = """
INSERT INTO spotify_auth_historymark (id) VALUES (1) ON CONFLICT DO NOTHING;
INSERT INTO spotify_auth_rolledup (id, event_id) VALUES (1, 0) ON CONFLICT DO NOTHING;
UPDATE spotify_auth_rolledup SET counted_to = event_id, event_id = 9223372036854775807;
"""
UNMARK = "UPDATE spotify_auth_rolledup SET event_id = counted_to"


class Migration(migrations.Migration):
    dependencies = [
        ("spotify_auth", "0027_history_tables"),
    ]

    operations = [
        migrations.CreateModel(
            name="HistoryMark",
            fields=[
                (
                    "id",
                    models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False),
                ),
                (
                    "round_at",
                    models.DateTimeField(help_text="When the present round began.", null=True),
                ),
                (
                    "fold_to",
                    models.BigIntegerField(
                        db_default=0,
                        help_text="Routine events up to this are folded in the present round.",
                    ),
                ),
                (
                    "folded_user",
                    models.CharField(
                        blank=True,
                        db_default="",
                        help_text="The user up to whom the round has come; blank: at the first.",
                        max_length=64,
                    ),
                ),
                ("round_is_over", models.BooleanField(db_default=True)),
                (
                    "routine_to",
                    models.BigIntegerField(
                        db_default=0,
                        help_text="TokenEvents up to this have no routine among them.",
                    ),
                ),
                (
                    "folded_to",
                    models.BigIntegerField(
                        db_default=0, help_text="Folded events up to this are deleted."
                    ),
                ),
                (
                    "all_to",
                    models.BigIntegerField(
                        db_default=0, help_text="TokenEvents up to this are deleted."
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=Q(id=1), name="history_mark_one_row")
                ],
            },
        ),
        migrations.AddField(
            model_name="rolledup",
            name="counted_to",
            field=models.BigIntegerField(
                db_default=0, help_text="All events up to this are counted."
            ),
        ),
        migrations.AlterField(
            model_name="rolledup",
            name="event_id",
            field=models.BigIntegerField(
                db_default=9223372036854775807,
                help_text="The same for the previous version: beyond all.",
            ),
        ),
        migrations.RunSQL(MARKS, UNMARK),
    ]
