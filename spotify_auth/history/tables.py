"""The tables of the history, what is routine, and how far house-keeping is with each."""

from typing import Final

from django.db import models

EVENTS: Final = "spotify_auth_tokenevent"
ROUTINE: Final = "spotify_auth_routineevent"
FOLDED: Final = "spotify_auth_foldedevent"

IS_ROUTINE: Final = "outcome = 'refreshed' AND cause = 'schedule' AND NOT ended_trouble"
"""The one definition of a routine success, as SQL: a token was due and is refreshed, and nothing
was wrong with it. All else is kept for long: logins, failures and the refreshes that ended them,
refusals, verdicts, appeals and recoveries, rescues, what people did and why, and refreshes that a
page, a 401 or an administrator asked for. Lanes write routine successes into a table of their own
(`refresh.store`); those that the previous version wrote are found by this."""

MAKE_MARK: Final = "INSERT INTO spotify_auth_historymark (id) VALUES (1) ON CONFLICT DO NOTHING"
"""SQL that makes the one row of HistoryMark."""


class HistoryMark(models.Model):
    """How far house-keeping has come in the history: one row, which is also its lock.

    So that nothing is looked at twice: after a DELETE the entries of an index are there until a
    vacuum, and a step that began at the oldest event would step over them again and again.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    round_at = models.DateTimeField(null=True, help_text="When the present round began.")
    fold_to = models.BigIntegerField(
        db_default=0, help_text="Routine events up to this are folded in the present round."
    )
    # Text: users may have a UUID.
    folded_user = models.CharField(
        max_length=64,
        blank=True,
        db_default="",
        help_text="The user up to whom the round has come; blank: at the first.",
    )
    round_is_over = models.BooleanField(db_default=True)
    routine_to = models.BigIntegerField(
        db_default=0, help_text="TokenEvents up to this have no routine among them."
    )
    folded_to = models.BigIntegerField(
        db_default=0, help_text="Folded events up to this are deleted."
    )
    all_to = models.BigIntegerField(db_default=0, help_text="TokenEvents up to this are deleted.")

    class Meta:
        constraints = (
            models.CheckConstraint(condition=models.Q(id=1), name="history_mark_one_row"),
        )

    def __str__(self) -> str:
        return f"History, round of {self.round_at:%F %T}" if self.round_at else "History"
