"""Where webhooks are sent, and what became of each."""

from uuid import uuid4

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from spotify_auth.fields import EncryptedTextField
from spotify_auth.notices.models import Kind, Notice


class WebhookEndpoint(models.Model):
    """An address that is told of the kinds of notices that it wants."""

    class Status(models.TextChoices):
        ENABLED = "enabled", "Enabled"
        DISABLED = "disabled", "Disabled by an administrator"
        GONE = "gone", "Disabled: it answered 410"
        FAILING = "failing", "Disabled: it failed for days"

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    name = models.CharField(max_length=100, help_text="For the log and for this list.")
    url = models.CharField("address", max_length=500, help_text="https://…")
    kinds = ArrayField(models.CharField(max_length=40, choices=Kind.choices), verbose_name="types")
    status = models.CharField(max_length=20, choices=Status.choices, default=Status.ENABLED)
    secret = EncryptedTextField(editable=False)
    # The newest first, with spaces between, where it was renewed again while the one before signed.
    previous_secret = EncryptedTextField(null=True, editable=False)
    previous_until = models.DateTimeField(
        null=True, editable=False, help_text="Until when the previous secret signs too."
    )
    failing_since = models.DateTimeField(
        null=True, editable=False, help_text="The first failure since it last took a webhook."
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = "webhook"

    def __str__(self) -> str:
        return self.name


class WebhookDelivery(models.Model):
    """One notice for one address: waiting until it is taken, or given up."""

    class Status(models.TextChoices):
        WAITING = "waiting", "Waiting"
        DELIVERED = "delivered", "Delivered"
        GIVEN_UP = "given_up", "Given up"

    # The migration makes both constraints, with ON DELETE CASCADE: a notice may be handed out
    # while its user is deleted.
    notice = models.ForeignKey(
        Notice, on_delete=models.CASCADE, related_name="deliveries", db_constraint=False
    )
    endpoint = models.ForeignKey(
        WebhookEndpoint,
        on_delete=models.CASCADE,
        related_name="deliveries",
        db_constraint=False,
        verbose_name="webhook",
    )
    status = models.CharField(
        max_length=20, choices=Status.choices, db_default=Status.WAITING.value
    )
    attempts = models.PositiveSmallIntegerField(db_default=0)
    next_at = models.DateTimeField("next attempt", null=True, db_default=Now())
    last_at = models.DateTimeField("last attempt", null=True)
    last_status = models.PositiveSmallIntegerField("HTTP status", null=True)
    last_answer = models.CharField(
        max_length=200, blank=True, db_default="", help_text="The beginning, or why there is none."
    )

    class Meta:
        verbose_name = "webhook delivery"
        verbose_name_plural = "webhook deliveries"
        constraints = (
            models.UniqueConstraint(fields=("notice", "endpoint"), name="delivery_once"),
        )
        indexes = (
            models.Index(
                fields=["endpoint", "next_at"],
                condition=Q(status="waiting"),
                name="delivery_waiting",
            ),
        )

    def __str__(self) -> str:
        return f"Delivery {self.pk}"
