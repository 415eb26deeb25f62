"""The tables of the figures: small, and written by chores only."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q


class EventCount(models.Model):
    """How many events of one outcome there were in a minute, in an hour, or ever.

    `roll_up` adds each event of the history to all three. Minutes are deleted after some days,
    hours are kept, and `EVER` is what a counter shows: it never falls.
    """

    class Span(models.TextChoices):
        MINUTE = "minute", "Minute"
        HOUR = "hour", "Hour"
        EVER = "ever", "Ever"
        """One row for each outcome. Its `begins_at` is 1970."""

    span = models.CharField(max_length=6, choices=Span.choices)
    begins_at = models.DateTimeField(help_text="UTC, by PostgreSQL's clock.")
    outcome = models.CharField(max_length=20)
    events = models.BigIntegerField()
    rotated = models.BigIntegerField(help_text="Of them with a new refresh token.")
    exchanges = models.BigIntegerField(help_text="Of them with an answer of Spotify's, timed.")
    milliseconds = models.BigIntegerField(help_text="What these exchanges took together.")
    buckets = ArrayField(
        models.BigIntegerField(),
        help_text="These exchanges by duration: up to each of latency.BOUNDS_MS, and beyond.",
    )

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("span", "begins_at", "outcome"), name="event_count_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.events} x {self.outcome} in the {self.span} of {self.begins_at:%F %R}"


class RolledUp(models.Model):
    """How far the history is counted: one row, which is also the lock of whoever counts."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    counted_to = models.BigIntegerField(
        db_default=0, help_text="All events up to this are counted."
    )
    # The previous version would miss events that lanes are writing into a table it does not know
    # (`roll_up`). For it, all are counted.
    event_id = models.BigIntegerField(
        db_default=9223372036854775807, help_text="The same for the previous version: beyond all."
    )
    at = models.DateTimeField(null=True, help_text="When nothing was left to count.")

    class Meta:
        constraints = (models.CheckConstraint(condition=Q(id=1), name="rolled_up_one_row"),)

    def __str__(self) -> str:
        return f"Counted up to event {self.counted_to}"


class StatusCount(models.Model):
    """How many tokens have a status, as it was counted a minute ago at most.

    `sleeping` is no status: these are active tokens whose users were not seen for long.
    """

    status = models.CharField(primary_key=True, max_length=20)
    tokens = models.BigIntegerField()
    counted_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.tokens} tokens are {self.status}"


class FreshnessSample(models.Model):
    """How many connected users had a fresh token at one moment, about once a minute.

    `stale_seconds` reaches back to the sample before, over a gap too: no worker was there to
    refresh what is stale now, so the expiry of each token tells since when it is.
    """

    at = models.DateTimeField(primary_key=True)
    connected = models.BigIntegerField(help_text="Active tokens, sleeping ones left out.")
    stale = models.BigIntegerField(help_text="Of them without a fresh access token.")
    refused = models.BigIntegerField(help_text="Stale ones that Spotify refused: not our fault.")
    overdue = models.BigIntegerField()
    stale_seconds = models.FloatField(
        help_text="Users times seconds without a fresh token since the sample before, refused "
        "ones left out."
    )

    def __str__(self) -> str:
        return f"{self.stale} of {self.connected} stale at {self.at:%F %T}"
