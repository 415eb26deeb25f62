"""Delivering: one webhook after the other to one address, each under the lock of its row.

The lock is held while the receiver is asked, as a lane's is. If the worker is killed PostgreSQL
releases it, and the webhook is sent again, with the same id. If it is killed after the receiver's
answer and before the commit, the receiver gets it twice.
"""

import json
import logging
import random
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Now

from spotify_auth import chores
from spotify_auth.encryption import DecryptionError
from spotify_auth.notices.models import Notice
from spotify_auth.secrecy import forgets_variables
from spotify_auth.text import one_line
from spotify_auth.webhooks import addresses, endpoints, signing, transport
from spotify_auth.webhooks.dispatch import IN_FLIGHT, IN_FLIGHT_IN_ALL
from spotify_auth.webhooks.models import WebhookDelivery, WebhookEndpoint
from spotify_auth.webhooks.transport import Answer

logger = logging.getLogger(__name__)

_MINUTE, _HOUR = 60, 3600
RETRY_AFTER_SECONDS = (
    *(5, 5 * _MINUTE, 30 * _MINUTE),
    *(hours * _HOUR for hours in (2, 5, 10, 14, 20, 24)),
)
"""After each failed attempt, as the convention has it; then the webhook is given up. Up to a tenth
is added at random."""
DISABLED_AFTER = timedelta(days=5)
"""An address that has taken nothing for this long, though it was asked, is disabled."""

TURN_SECONDS = 30.0
"""A task ends after this: others wait for its thread."""
_LONGEST_SECONDS = 60
"""PostgreSQL ends the session of a worker that was frozen in its attempt."""
_SHOWN = 200
_SECRET = re.compile(r"[^\s\"'<>]{30,}")
"""A receiver may send back what it was sent, or its secret. Words are shorter."""

# Slots, so that addresses that hang leave threads to the lanes and to other addresses. They end
# with the transaction.
_SLOT = """
SELECT set_config('idle_in_transaction_session_timeout', %(longest)s, true),
       EXISTS (SELECT FROM generate_series(1, %(in_flight)s) AS n
               WHERE pg_try_advisory_xact_lock(hashtextextended(%(endpoint)s, n)))
       AND EXISTS (SELECT FROM generate_series(1, %(in_all)s) AS n
                   WHERE pg_try_advisory_xact_lock(hashtextextended('webhooks', n)))
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Webhook:
    """One webhook that is about to be sent."""

    url: str
    body: bytes
    headers: dict[str, str] = field(repr=False)


def deliver_due(endpoint_id: UUID) -> None:
    """Send what is due to one address, until nothing is left, it fails, or the turn is over.

    Raises django.db.Error.
    """
    turn_ends = time.monotonic() + TURN_SECONDS
    while not chores.stopping.is_set() and time.monotonic() < turn_ends:
        if not _deliver_next(endpoint_id):
            return


@transaction.atomic
def _deliver_next(endpoint_id: UUID) -> bool:
    """Send one; whether it was taken, so that it makes sense to send another."""
    if not _has_slot(endpoint_id):
        return False
    delivery = (
        WebhookDelivery.objects.select_for_update(skip_locked=True, of=("self",))
        .select_related("notice", "endpoint")
        .annotate(now=Now())
        .filter(
            endpoint_id=endpoint_id,
            endpoint__status=WebhookEndpoint.Status.ENABLED,
            status=WebhookDelivery.Status.WAITING,
            next_at__lte=Now(),
        )
        .order_by("next_at", "pk")
        .first()
    )
    if delivery is None:
        return False
    answer = _send(delivery, now=delivery.now)
    taken = answer.status is not None and 200 <= answer.status < 300
    _note(delivery, answer, taken=taken)
    return taken


def _has_slot(endpoint_id: UUID) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            _SLOT,
            {
                "longest": f"{_LONGEST_SECONDS}s",
                "endpoint": str(endpoint_id),
                "in_flight": IN_FLIGHT,
                "in_all": IN_FLIGHT_IN_ALL,
            },
        )
        return bool(cursor.fetchone()[1])


def _send(delivery: WebhookDelivery, *, now: datetime) -> Answer:
    try:
        addresses.check(delivery.endpoint.url)
        webhook = _webhook(delivery, now)
    except addresses.BadAddress as error:
        return Answer(status=None, excerpt=f"Not sent: {error}")
    except DecryptionError as error:
        logger.error("webhook_undecryptable webhook=%s reason=%s", delivery.endpoint_id, error)
        return Answer(status=None, excerpt="Not sent: no key opens the secret of this webhook.")
    return transport.post(webhook.url, webhook.body, webhook.headers)


@forgets_variables
def _webhook(delivery: WebhookDelivery, now: datetime) -> _Webhook:
    endpoint, notice = delivery.endpoint, delivery.notice
    body = payload(notice.kind, notice.at, notice.data)
    with_secrets = [endpoint.secret, *endpoints.previous_secrets(endpoint, now=now)]
    headers = signing.headers(
        message_id(notice), int(now.timestamp()), body, with_secrets=filter(None, with_secrets)
    )
    return _Webhook(url=endpoint.url, body=body, headers=headers)


def message_id(notice: Notice) -> str:
    """What a receiver knows a notice by, at each attempt."""
    return f"msg_{notice.pk.hex}"


def payload(kind: str, at: datetime, data: dict[str, Any]) -> bytes:
    """What is sent: docs/reference/webhook.schema.json. The same at each attempt."""
    moment = at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    whole = {"type": kind, "timestamp": moment, "data": data}
    return json.dumps(whole, cls=DjangoJSONEncoder, separators=(",", ":")).encode()


def _note(delivery: WebhookDelivery, answer: Answer, *, taken: bool) -> None:
    """Write down what came of an attempt, for the delivery and for its address."""
    attempts = delivery.attempts + 1
    given_up = not taken and attempts > len(RETRY_AFTER_SECONDS)
    status = WebhookDelivery.Status.WAITING
    if taken or given_up:
        status = WebhookDelivery.Status.DELIVERED if taken else WebhookDelivery.Status.GIVEN_UP
    wait = 0.0 if taken or given_up else RETRY_AFTER_SECONDS[attempts - 1]
    wait *= random.uniform(1, 1.1)  # noqa: S311  (jitter)
    # clock_timestamp(): now() is from before the receiver was asked.
    now = _clock_now()
    WebhookDelivery.objects.filter(pk=delivery.pk).update(
        status=status,
        attempts=attempts,
        next_at=None if taken or given_up else now + timedelta(seconds=wait),
        last_at=now,
        last_status=answer.status,
        last_answer=_shown(answer),
    )
    logger.log(
        logging.INFO if taken else logging.ERROR if given_up else logging.WARNING,
        "webhook_attempted outcome=%s webhook=%s delivery=%s type=%s attempt=%s status=%s",
        "delivered" if taken else "given_up" if given_up else "failed",
        delivery.endpoint_id,
        delivery.pk,
        delivery.notice.kind,
        attempts,
        answer.status,
    )
    _note_address(delivery.endpoint, answer, taken=taken, now=now)


def _note_address(endpoint: WebhookEndpoint, answer: Answer, *, taken: bool, now: datetime) -> None:
    """Whether an address takes webhooks. One that is gone, or fails for days, is disabled."""
    row = WebhookEndpoint.objects.filter(pk=endpoint.pk)
    if taken:
        row.filter(failing_since__isnull=False).update(failing_since=None)
        return
    row.update(failing_since=Coalesce(F("failing_since"), now))
    reason = None
    if answer.status == 410:
        reason = WebhookEndpoint.Status.GONE
    elif endpoint.failing_since and now - endpoint.failing_since > DISABLED_AFTER:
        reason = WebhookEndpoint.Status.FAILING
    enabled = row.filter(status=WebhookEndpoint.Status.ENABLED)
    if reason and enabled.update(status=reason):
        logger.error("webhook_disabled webhook=%s reason=%s", endpoint.pk, reason)


def _clock_now() -> datetime:
    """PostgreSQL's clock at this moment, and not at the beginning of the transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


@forgets_variables
def _shown(answer: Answer) -> str:
    """The beginning of an answer as the log of deliveries keeps it: one line, and no secret."""
    if answer.status is not None and 300 <= answer.status < 400:
        return "A redirect, which is not followed."
    return _SECRET.sub("…", one_line(answer.excerpt))[:_SHOWN]
