"""The user behind a session."""

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class User(AbstractUser):
    """A user: staff with a username and a password, or a listener who logs in with Spotify.

    The Spotify account stands on the token (`SpotifyToken.account_id`). Users who log in by
    it have no username, no e-mail and no usable password.

    `account_id` and `seen_at` are for the previous version, which runs beside this one during
    an upgrade: both are written still, and read only for rows that the previous version made
    (users.py, middleware.py). The next release drops them, the constraint and the trigger of
    migration 0004, once it has copied again what is missing on the tokens.
    """

    # NULL and not "" for users who log in with Spotify: the column is unique.
    username = models.CharField(  # type: ignore[assignment]
        max_length=150, unique=True, null=True, blank=True
    )
    account_id = models.CharField(
        "Spotify account ID", max_length=255, unique=True, null=True, blank=True, editable=False
    )
    display_name = models.CharField(max_length=255, blank=True)
    seen_at = models.DateTimeField(
        db_default=Now(), help_text="When a page last met this person, to within a day."
    )

    class Meta(AbstractUser.Meta):
        constraints = (
            models.CheckConstraint(
                condition=Q(username__isnull=False) | Q(account_id__isnull=False),
                name="user_has_username_or_account_id",
            ),
        )

    def __str__(self) -> str:
        return self.display_name or self.username or "Spotify listener"

    def get_short_name(self) -> str:
        """The name that pages greet the user with."""
        return str(self)


class ReconnectReminder(models.Model):
    """A mail that says how soon the six months are over: one for each of a few days."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    reauthorize_by = models.DateTimeField()
    days = models.PositiveSmallIntegerField(help_text="Days before the end: 30, 7 or 1.")
    sent_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("user", "reauthorize_by", "days"), name="reminder_sent_once"
            ),
        )
        indexes = (models.Index(fields=["id"], condition=Q(sent_at=None), name="reminder_waiting"),)

    def __str__(self) -> str:
        return f"{self.days} days before {self.reauthorize_by:%Y-%m-%d}, to user {self.user_id}"
