"""A webhook is sent until it is taken, within limits, and a receiver can be sure whose it is."""

import json
import threading
import tracemalloc
from datetime import timedelta

import pytest
from django.db import close_old_connections, connection
from django.db.models import F
from django.db.models.functions import Now
from jsonschema import Draft202012Validator
from pytest_django import Settings
from standardwebhooks.webhooks import WebhookVerificationError

from dev.process import ROOT
from spotify_auth import connections
from spotify_auth.housekeeping import delete_expired
from spotify_auth.models import Notice
from spotify_auth.notices import outbox
from spotify_auth.notices.models import Kind
from spotify_auth.notices.outbox import Draft
from spotify_auth.webhooks import delivery, dispatch, endpoints, transport
from spotify_auth.webhooks.models import WebhookDelivery, WebhookEndpoint
from tests.spotify_auth.webhooks.conftest import endpoint_at
from tests.support.processes import wait_for
from tests.support.receiver import GARBAGE, HANG, Receiver
from tests.support.tokens import Connect

pytestmark = pytest.mark.django_db(transaction=True)

Status = WebhookDelivery.Status


def happen(kind: Kind = Kind.SERVICE_PAUSED) -> None:
    """Something happens that webhooks are sent about, and a sweep hands it out."""
    outbox.write(Draft(kind=kind, reason="rate_limited", sentence="Spotify limits us."))
    dispatch._hand_out_some()


def send(endpoint: WebhookEndpoint, *, when_due: bool = False) -> WebhookDelivery:
    """Let a worker send what is due; the newest delivery as it is then."""
    if when_due:
        WebhookDelivery.objects.filter(next_at__isnull=False).update(next_at=Now())
    delivery.deliver_due(endpoint.pk)
    found = WebhookDelivery.objects.order_by("-pk").first()
    assert found
    return found


def test_what_is_sent_is_signed_and_as_the_schema_has_it(
    connect: Connect, endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    user = connect()
    connections.disconnect(user_id=user.pk)
    dispatch._hand_out_some()
    dispatch._hand_out_some()  # another sweep

    sent = send(endpoint)

    assert (sent.status, sent.attempts, sent.last_status) == (Status.DELIVERED, 1, 204)
    schema = json.loads((ROOT / "docs/reference/webhook.schema.json").read_text())
    assert endpoint.secret
    for each, kind in zip(receiver.received, ("token.connected", "token.closed"), strict=True):
        found = each.verified(endpoint.secret)
        Draft202012Validator(schema).validate(found)
        assert (found["type"], found["data"]["user_id"]) == (kind, user.pk)
        with pytest.raises(WebhookVerificationError):
            each.verified(endpoints.give_secret(WebhookEndpoint()))
    assert len(set(receiver.ids)) == 2


def test_the_schema_knows_every_type() -> None:
    schema = json.loads((ROOT / "docs/reference/webhook.schema.json").read_text())
    assert schema["properties"]["type"]["enum"] == [kind.value for kind in Kind]


def test_a_renewed_secret_and_the_previous_one_sign_for_a_day(
    endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    old = endpoint.secret
    new = endpoints.renew_secret(endpoint)
    happen()
    send(endpoint)
    assert old
    assert receiver.received[0].verified(old) == receiver.received[0].verified(new)

    lost = new  # the page was loaded again before anybody had copied it
    new = endpoints.renew_secret(endpoint)
    happen()
    send(endpoint)
    assert len({str(receiver.received[1].verified(each)) for each in (old, lost, new)}) == 1

    day = timedelta(hours=24, seconds=1)
    WebhookEndpoint.objects.update(previous_until=F("previous_until") - day)
    happen()
    send(endpoint)
    receiver.received[2].verified(new)
    for secret in (old, lost):
        with pytest.raises(WebhookVerificationError):
            receiver.received[2].verified(secret)
    endpoints.renew_secret(endpoint)
    assert WebhookEndpoint.objects.get().previous_secret == new


def test_is_tried_again_with_the_same_id_until_it_is_taken(
    endpoint: WebhookEndpoint, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    assert endpoint.secret
    receiver.next = [500, GARBAGE, 302, 404]
    receiver.location = f"{receiver.url}/elsewhere"
    receiver.says = f"you sent {endpoint.secret}\n<b>no</b>".encode()
    happen()

    sent = send(endpoint)
    assert (sent.status, sent.attempts, sent.last_status) == (Status.WAITING, 1, 500)
    assert sent.last_answer == "you sent … <b>no</b>"
    assert sent.last_at
    assert sent.next_at
    assert 5 <= (sent.next_at - sent.last_at).total_seconds() <= 5.5
    assert send(endpoint).attempts == 1  # it is not due
    sent = send(endpoint, when_due=True)
    assert (sent.last_status, sent.last_answer) == (
        None,
        "No connection, or no HTTP: ConnectionError.",
    )
    sent = send(endpoint, when_due=True)
    assert (sent.last_status, sent.last_answer) == (302, "A redirect, which is not followed.")
    send(endpoint, when_due=True)
    sent = send(endpoint, when_due=True)

    assert (sent.status, sent.attempts, sent.next_at) == (Status.DELIVERED, 5, None)
    assert len(receiver.received) == 5
    assert len(set(receiver.ids)) == 1
    assert {each.body for each in receiver.received} == {receiver.received[0].body}
    assert WebhookEndpoint.objects.get().failing_since is None
    assert "webhook_attempted outcome=failed" in caplog.text
    assert endpoint.secret not in caplog.text


def test_is_given_up_after_three_days_and_can_be_sent_again(
    endpoint: WebhookEndpoint, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.next = [503] * 10
    happen()
    for _ in range(10):
        sent = send(endpoint, when_due=True)
    assert (sent.status, sent.attempts, sent.next_at) == (Status.GIVEN_UP, 10, None)
    assert "ERROR" in [record.levelname for record in caplog.records]
    assert 3 * 24 < sum(delivery.RETRY_AFTER_SECONDS) / 3600 < 4 * 24

    endpoints.send_again(sent)
    assert send(endpoint).status == Status.DELIVERED
    assert len(set(receiver.ids)) == 1


@pytest.mark.parametrize(
    ("answer", "days", "status"), [(410, 0, "gone"), (500, 6, "failing"), (500, 4, "enabled")]
)
def test_an_address_that_is_gone_or_fails_for_days_is_disabled(
    endpoint: WebhookEndpoint,
    receiver: Receiver,
    caplog: pytest.LogCaptureFixture,
    answer: int,
    days: int,
    status: str,
) -> None:
    happen()
    receiver.next = [answer] * 2
    if days:
        WebhookEndpoint.objects.update(failing_since=Now() - timedelta(days=days))

    send(endpoint)

    assert WebhookEndpoint.objects.get().status == status
    disabled = status != "enabled"
    assert ("webhook_disabled" in caplog.text) is disabled
    if disabled:
        happen()  # it is not told of this
        send(endpoint, when_due=True)
        assert len(receiver.received) == 1
        endpoints.enable(endpoint)
        receiver.next = []
        assert send(endpoint).status == Status.DELIVERED  # what waited
        assert WebhookDelivery.objects.count() == 1


def test_only_what_an_address_wants_is_sent(receiver: Receiver, db: None) -> None:
    endpoint = endpoint_at(receiver.url, kinds=(Kind.SERVICE_PAUSED,))
    happen(Kind.SERVICE_RESUMED)
    happen(Kind.SERVICE_PAUSED)

    send(endpoint)

    assert [json.loads(each.body)["type"] for each in receiver.received] == ["service.paused"]
    assert not Notice.objects.filter(handed_out=False).exists()


def test_an_address_that_hangs_holds_few_threads_and_nobody_else(
    endpoint: WebhookEndpoint, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = endpoint_at(receiver.url)
    receiver.next = [HANG] * dispatch.IN_FLIGHT
    for _ in range(6):
        happen()

    def deliver(to: WebhookEndpoint) -> None:
        try:
            delivery.deliver_due(to.pk)
        finally:
            connection.close()

    threads = [threading.Thread(target=deliver, args=(endpoint,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    wait_for(lambda: sum(t.is_alive() for t in threads) == dispatch.IN_FLIGHT, what="the slots")
    wait_for(lambda: len(receiver.received) == dispatch.IN_FLIGHT, what="what hangs to arrive")

    send(other)  # meanwhile
    assert WebhookDelivery.objects.filter(endpoint=other, status=Status.DELIVERED).count() == 6
    monkeypatch.setattr(delivery, "IN_FLIGHT_IN_ALL", dispatch.IN_FLIGHT)
    happen()
    send(other)  # all slots of all addresses are taken
    assert WebhookDelivery.objects.filter(endpoint=other, status=Status.WAITING).count() == 1

    receiver.release()
    for thread in threads:
        thread.join()
    assert not WebhookDelivery.objects.filter(endpoint=endpoint, status=Status.WAITING).exists()
    close_old_connections()


def test_a_receiver_that_hangs_is_left_after_the_deadline(
    endpoint: WebhookEndpoint, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "TOTAL_SECONDS", 0.5)
    receiver.next = [HANG]
    happen()

    sent = send(endpoint)

    assert (sent.status, sent.last_status) == (Status.WAITING, None)
    assert sent.last_answer.startswith("No answer within")


@pytest.mark.parametrize("size", [b"-1", b"-2"])
def test_a_chunk_of_negative_size_is_not_read_to_its_end(
    endpoint: WebhookEndpoint, receiver: Receiver, size: bytes
) -> None:
    """http.client would read all that comes, into memory, or raise what nobody expects."""
    chunked = b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n" % size
    receiver.next = [chunked + bytes(32 * 1024 * 1024)]
    happen()

    tracemalloc.start()
    try:
        sent = send(endpoint)
        largest = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert (sent.status, sent.attempts, sent.last_status) == (Status.WAITING, 1, 500)
    assert largest < 48 * 1024 * 1024, "more than what the receiver itself holds"


def test_headers_that_are_none_do_not_write_the_address_into_the_log(
    endpoint: WebhookEndpoint, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """Addresses may have a secret in them; and a receiver writes no line of our log."""
    receiver.next = [b"HTTP/1.1 500 No\r\nX: 1\r\nno header\r\nA: b\r\n\r\n"]
    happen()

    assert send(endpoint).last_status == 500
    assert "webhook_attempted outcome=failed" in caplog.text
    assert "/hooks" not in caplog.text
    assert "no header" not in caplog.text


def test_house_keeping_deletes_deliveries_with_their_notices(
    endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    happen()
    send(endpoint)
    Notice.objects.update(at=Now() - timedelta(days=32))

    delete_expired()

    assert not WebhookDelivery.objects.exists()


def test_a_notice_that_goes_with_its_user_takes_what_was_handed_out_meanwhile(
    endpoint: WebhookEndpoint, connect: Connect
) -> None:
    """PostgreSQL itself sees to it: Django has looked for deliveries before there were any."""
    user = connect()
    dispatch._hand_out_some()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM spotify_auth_notice WHERE user_id = %s", [user.pk])
    assert not WebhookDelivery.objects.exists()


def test_without_the_key_of_its_secret_a_webhook_waits(
    endpoint: WebhookEndpoint, receiver: Receiver, settings: Settings
) -> None:
    happen()
    keys = settings.TOKEN_ENCRYPTION_KEYS
    settings.TOKEN_ENCRYPTION_KEYS = [bytes(range(32))]
    assert send(endpoint).last_answer.startswith("Not sent: no key")
    settings.TOKEN_ENCRYPTION_KEYS = keys
    assert send(endpoint, when_due=True).status == Status.DELIVERED
    assert len(receiver.received) == 1


def test_an_address_is_enabled_while_something_is_being_sent_to_it(
    endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    """Whoever sends holds the delivery and then wants the address."""
    happen()
    send(endpoint)
    WebhookEndpoint.objects.update(failing_since=Now(), status=WebhookEndpoint.Status.ENABLED)
    receiver.next = [HANG]
    happen()

    def deliver() -> None:
        try:
            delivery.deliver_due(endpoint.pk)
        finally:
            connection.close()

    sending = threading.Thread(target=deliver)
    sending.start()
    wait_for(lambda: len(receiver.received) == 2, what="the request")
    letting_go = threading.Timer(0.3, receiver.release)
    letting_go.start()
    endpoints.enable(endpoint)
    sending.join()
    letting_go.join()

    statuses = WebhookDelivery.objects.values_list("status", flat=True)
    assert list(statuses) == [Status.DELIVERED] * 2


def test_a_sweep_hands_out_for_some_seconds_and_the_next_one_goes_on(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "_AT_ONCE", 1)
    monkeypatch.setattr(dispatch, "HAND_OUT_SECONDS", 0)
    draft = Draft(kind=Kind.SERVICE_PAUSED, reason="rate_limited", sentence="Spotify limits us.")
    for _ in range(3):
        outbox.write(draft)
    for left in (2, 1):
        dispatch.dispatch()
        assert Notice.objects.filter(handed_out=False).count() == left

    monkeypatch.setattr(dispatch, "HAND_OUT_SECONDS", 60)
    outbox.write(draft)
    dispatch.dispatch()
    assert not Notice.objects.filter(handed_out=False).exists()
