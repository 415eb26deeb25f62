"""What is stored of notices."""

from django.conf import settings
from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class Kind(models.TextChoices):
    """What a notice is about: the types of webhooks."""

    CONNECTED = "token.connected", "Connected"
    SUSPECTED = "token.suspected", "Refused, will be asked again"
    RECONNECT_REQUIRED = "token.reconnect_required", "Reconnect required"
    RECOVERED = "token.recovered", "Recovered"
    CLOSED = "token.closed", "Tokens erased"
    RECONNECT_DUE = "token.reconnect_due", "The six months will be over"
    TOKEN_PAUSED = "token.paused", "Paused by an operator"
    TOKEN_RESUMED = "token.resumed", "Resumed by an operator"
    SERVICE_PAUSED = "service.paused", "All refreshing paused"
    SERVICE_RESUMED = "service.resumed", "All refreshing goes on"
    TEST = "webhook.test", "Test"
    """An administrator tries an address: no change of state, and no signal."""


class Notice(models.Model):
    """One change of state that others are told of. Never a token."""

    # Not a number: a database that was restored from a backup would give it to another notice.
    id = models.UUIDField(primary_key=True, db_default=RandomUUID(), editable=False)
    at = models.DateTimeField(db_default=Now())
    kind = models.CharField(max_length=40, choices=Kind.choices)
    # Deleted along with the user, by Django: the previous version does not know this table.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        related_name="+",
        db_constraint=False,
    )
    once = models.CharField(  # noqa: DJ001  (unique: NULL where it may be repeated)
        max_length=150,
        null=True,
        unique=True,
        help_text="Names a change that is looked for again and again: there is one notice of it.",
    )
    data = models.JSONField(help_text="What receivers are told.")
    handed_out = models.BooleanField(
        db_default=False, help_text="Whether each webhook that wants it has a delivery."
    )

    class Meta:
        ordering = ("-at",)
        indexes = (
            models.Index(fields=["at"], name="notice_at"),
            models.Index(fields=["at"], condition=Q(handed_out=False), name="notice_to_hand_out"),
        )

    def __str__(self) -> str:
        return f"{self.kind} at {self.at:%Y-%m-%d %H:%M:%S}"


class AnnouncedPause(models.Model):
    """A pause of all refreshing that others were told of, and not yet that it is over."""

    kind = models.CharField(primary_key=True, max_length=20, help_text="What pauses it.")
    reason = models.CharField(max_length=40)
    since = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.reason} since {self.since:%Y-%m-%d %H:%M:%S}"
