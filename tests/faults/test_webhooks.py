"""Webhooks over the loss of workers: none is lost, and what comes twice has the same id."""

from collections.abc import Iterator

import pytest
from django.db.models import F
from django.db.models.functions import Now
from pytest_django import DjangoDbBlocker

from spotify_auth.models import Notice, SpotifyToken
from spotify_auth.notices import outbox
from spotify_auth.notices.models import Kind
from spotify_auth.notices.outbox import Draft
from spotify_auth.webhooks import endpoints
from spotify_auth.webhooks.models import WebhookDelivery, WebhookEndpoint
from tests.support.fault_stack import Stack, started_stack
from tests.support.processes import wait_for
from tests.support.receiver import HANG, Receiver, receiving
from tests.support.tokens import connect_users, make_due, token_of

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("webhooks")]

SETTINGS = {
    "REFRESH_SWEEP_SECONDS": "0.2",
    "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
}


@pytest.fixture(scope="module")
def stack(django_db_blocker: DjangoDbBlocker) -> Iterator[Stack]:
    with django_db_blocker.unblock(), started_stack(lifetime=3600, settings=SETTINGS) as stack:
        yield stack


@pytest.fixture
def receiver(stack: Stack) -> Iterator[Receiver]:
    """The only address, which is told of everything that happens from now on."""
    with receiving() as receiver:
        Notice.objects.all().delete()
        endpoint = WebhookEndpoint(name="the tests", url=receiver.url, kinds=list(Kind))
        endpoints.give_secret(endpoint)
        endpoint.save(force_insert=True)
        yield receiver
        receiver.release()
        WebhookEndpoint.objects.all().delete()


def types(receiver: Receiver) -> list[str]:
    """What has happened: a webhook that came twice has happened once."""
    secret = str(WebhookEndpoint.objects.get().secret)
    received = {each.id: each.verified(secret) for each in list(receiver.received)}
    return [each["type"] for each in received.values()]


def all_delivered(count: int) -> bool:
    """Whether so many were delivered; what waits for its next attempt is due now."""
    waiting = WebhookDelivery.objects.filter(status="waiting", attempts__gt=0)
    waiting.update(next_at=Now())
    return WebhookDelivery.objects.filter(status="delivered").count() == count


def test_a_worker_killed_after_its_commit_loses_no_webhook(
    stack: Stack, receiver: Receiver
) -> None:
    (user,) = connect_users(stack.sandbox, 1)
    wait_for(lambda: all_delivered(1), what="the first webhook")
    stack.sandbox.faults("false_invalid_grant", times=1)
    stack.proxy.hold_the_commit_after(f"WHERE user_id = {user.pk} AND")
    make_due(user)
    wait_for(lambda: stack.proxy.held == 1, what="a COMMIT to stand")

    stack.worker.kill()  # it never learns that the suspicion is committed
    stack.proxy.cut()
    assert token_of(user).suspected_at
    SpotifyToken.objects.update(due_at=F("expires_at"))
    stack.worker.restart()

    wait_for(lambda: all_delivered(2), what="the webhook")
    assert types(receiver) == ["token.connected", "token.suspected"]


def test_a_worker_killed_during_a_delivery_sends_it_again_with_the_same_id(
    stack: Stack, receiver: Receiver
) -> None:
    receiver.next = [HANG]
    outbox.write(Draft(kind=Kind.SERVICE_PAUSED, reason="operator", sentence="A pause."))
    wait_for(lambda: receiver.received, what="the delivery")

    stack.worker.kill()
    stack.worker.restart()

    wait_for(lambda: all_delivered(1), what="the second delivery")
    assert len(receiver.received) == 2
    assert len(set(receiver.ids)) == 1
    assert WebhookDelivery.objects.get().attempts == 1  # the first left no trace


def test_all_arrive_while_half_of_the_answers_are_failures(
    stack: Stack, receiver: Receiver
) -> None:
    receiver.next = [status for _ in range(30) for status in (500, 204)]
    for number in range(20):
        reason = str(number)
        outbox.write(Draft(kind=Kind.SERVICE_RESUMED, reason=reason, sentence="It goes on."))

    wait_for(lambda: all_delivered(20), what="all")

    secret = str(WebhookEndpoint.objects.get().secret)
    told = {each.verified(secret)["data"]["reason"] for each in receiver.received}
    assert told == {str(number) for number in range(20)}
    assert len(set(receiver.ids)) == 20
    assert len(receiver.received) > 30
