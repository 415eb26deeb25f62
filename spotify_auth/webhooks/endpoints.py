"""What administrators do with addresses: make them, renew their secrets, switch them, try them."""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models.functions import Now

from spotify_auth.models import Notice
from spotify_auth.notices.models import Kind
from spotify_auth.webhooks import signing
from spotify_auth.webhooks.models import WebhookDelivery, WebhookEndpoint

OVERLAP = timedelta(hours=24)
"""How long the previous secret signs beside the new one."""
MOST_PREVIOUS = 3
"""Secrets that sign besides the present one."""


def give_secret(endpoint: WebhookEndpoint) -> str:
    """The secret of a new address, which the caller saves; it is shown this once."""
    endpoint.secret = secret = signing.new_secret()
    return secret


@transaction.atomic
def renew_secret(endpoint: WebhookEndpoint) -> str:
    """A new secret for an address, to be shown this once. The previous one signs too for OVERLAP.

    So do those before it that still sign: a page that is loaded again renews the secret again, and
    the receiver may have any of them. Raises encryption.DecryptionError if no key opens one.
    """
    rows = WebhookEndpoint.objects.select_for_update().annotate(now=Now())
    locked = rows.get(pk=endpoint.pk)
    still = previous_secrets(locked, now=locked.now)
    locked.previous_secret = " ".join([str(locked.secret), *still][:MOST_PREVIOUS])
    locked.secret = secret = signing.new_secret()
    locked.save(update_fields=["secret", "previous_secret"])
    WebhookEndpoint.objects.filter(pk=locked.pk).update(previous_until=Now() + OVERLAP)
    return secret


def previous_secrets(endpoint: WebhookEndpoint, *, now: datetime) -> list[str]:
    """Those that sign besides the present one, the newest first; `now` is PostgreSQL's."""
    if endpoint.previous_until is None or now >= endpoint.previous_until:
        return []
    return (endpoint.previous_secret or "").split()


def enable(endpoint: WebhookEndpoint) -> None:
    """Send to it from now on. What waits for it since before is due now."""
    status = WebhookEndpoint.Status.ENABLED
    with transaction.atomic():
        # Deliveries first, as whoever sends one locks them. One that is being sent is left alone.
        waiting = WebhookDelivery.objects.select_for_update(skip_locked=True).filter(
            endpoint=endpoint, status=WebhookDelivery.Status.WAITING
        )
        WebhookDelivery.objects.filter(pk__in=waiting.values("pk")).update(next_at=Now())
        endpoints = WebhookEndpoint.objects.filter(pk=endpoint.pk)
        endpoints.update(status=status, failing_since=None)


def disable(endpoint: WebhookEndpoint) -> None:
    """Send nothing to it. What happens meanwhile it is never told."""
    status = WebhookEndpoint.Status.DISABLED
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(status=status)


@transaction.atomic
def send_test(endpoint: WebhookEndpoint) -> None:
    """Let the next sweep send a notice that means nothing."""
    data = {"reason": "test", "sentence": "An administrator tries this address."}
    notice = Notice(kind=Kind.TEST, data=data, handed_out=True)
    notice.save(force_insert=True)
    WebhookDelivery.objects.create(notice=notice, endpoint=endpoint)


def send_again(delivery: WebhookDelivery) -> None:
    """Let the next sweep send a delivery once more, with the same id, whatever became of it."""
    status = WebhookDelivery.Status.WAITING
    deliveries = WebhookDelivery.objects.filter(pk=delivery.pk)
    deliveries.update(status=status, attempts=0, next_at=Now())
