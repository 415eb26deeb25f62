"""Webhooks in the admin: who may, a secret that is seen once, tests, and sending again."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import connection as database
from django.test import Client
from django.urls import reverse

from accounts.models import User
from spotify_auth.webhooks import delivery, endpoints
from spotify_auth.webhooks.models import WebhookDelivery, WebhookEndpoint
from tests.spotify_auth.webhooks.conftest import endpoint_at
from tests.support.admin import enter_admin
from tests.support.receiver import Receiver

pytestmark = pytest.mark.django_db

LIST = reverse("admin:spotify_auth_webhookendpoint_changelist")
ADD = reverse("admin:spotify_auth_webhookendpoint_add")
DELIVERIES = reverse("admin:spotify_auth_webhookdelivery_changelist")


def administrator(client: Client, *codenames: str) -> User:
    """Somebody of the staff, with these permissions, in the admin."""
    user = User.objects.create_user("somebody", password="a-long-password", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    enter_admin(client, user)
    return user


def choose(client: Client, where: str, action: str, *rows: object) -> str:
    """Use an action of a list; the page that follows."""
    chosen = {"action": action, "_selected_action": [str(row) for row in rows]}
    answer = client.post(where, chosen, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


MANAGE = ("view_webhookendpoint", "add_webhookendpoint", "change_webhookendpoint")


def test_a_secret_is_shown_once_and_stored_sealed(client: Client, receiver: Receiver) -> None:
    administrator(client, *MANAGE, "view_webhookdelivery")
    assert "Created at" not in client.get(ADD).content.decode()  # it has not been yet
    refused = client.post(ADD, {"name": "a", "url": "http://10.0.0.1/", "kinds": ["x"]})
    assert "is not a public address" in refused.content.decode()
    assert "Select a valid choice" in refused.content.decode()

    made = client.post(
        ADD, {"name": "The shop", "url": receiver.url, "kinds": ["token.reconnect_required"]}
    )
    endpoint = WebhookEndpoint.objects.get()
    secret = str(endpoint.secret)
    assert f"<code>{secret}</code>" in made.content.decode()
    assert "no-store" in made["Cache-Control"]
    page = reverse("admin:spotify_auth_webhookendpoint_change", args=[endpoint.pk])
    for address in (LIST, page, page.replace("/change/", "/history/")):
        assert secret not in client.get(address).content.decode()
    assert "Created at" in client.get(page).content.decode()
    with database.cursor() as cursor:
        cursor.execute("SELECT t::text FROM spotify_auth_webhookendpoint AS t")
        assert secret.encode().hex() not in cursor.fetchone()[0]

    renewed = choose(client, LIST, "renew_secret", endpoint.pk)
    (new,) = re.findall(r"<code>(whsec_[^<]+)</code>", renewed)
    assert new != secret
    client.post(page, {"name": "The new shop", "url": receiver.url, "kinds": ["service.paused"]})
    endpoint = WebhookEndpoint.objects.get()
    assert (endpoint.name, endpoint.secret) == ("The new shop", new)
    assert endpoint.previous_secret == secret
    said = " ".join(LogEntry.objects.values_list("change_message", flat=True))
    assert "Renewed the secret." in said


def test_a_test_is_sent_and_sent_again_and_both_are_seen(
    client: Client, receiver: Receiver
) -> None:
    endpoint = endpoint_at(receiver.url)
    administrator(client, *MANAGE, "view_webhookdelivery")

    assert "The test is sent within seconds" in choose(client, LIST, "send_test", endpoint.pk)
    delivery.deliver_due(endpoint.pk)
    (row,) = WebhookDelivery.objects.all()
    assert receiver.received[0].verified(str(endpoint.secret))["type"] == "webhook.test"
    listed = client.get(DELIVERIES).content.decode()
    assert "webhook.test" in listed
    assert "Delivered" in listed
    assert len(re.findall(r">\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC<", listed)) == 2  # to the second
    page = reverse("admin:spotify_auth_webhookdelivery_change", args=[row.pk])
    assert receiver.ids[0] in client.get(page).content.decode()

    choose(client, DELIVERIES, "send_again", row.pk)
    delivery.deliver_due(endpoint.pk)
    assert receiver.ids == [receiver.ids[0]] * 2

    endpoints.disable(endpoint)
    for where, action, chosen in (
        (LIST, "send_test", endpoint.pk),
        (DELIVERIES, "send_again", row.pk),
    ):
        said = choose(client, where, action, chosen)
        assert "What is sent to the tests waits: no webhook is sent to a disabled address" in said
        assert "within seconds" not in said


def test_an_address_that_was_disabled_is_above_the_list_until_it_is_enabled(
    client: Client, receiver: Receiver
) -> None:
    endpoint = endpoint_at(receiver.url)
    WebhookEndpoint.objects.update(status="failing")
    administrator(client, *MANAGE)

    assert "is told nothing any more" in client.get(LIST).content.decode()
    choose(client, LIST, "enable", endpoint.pk)
    assert "is told nothing any more" not in client.get(LIST).content.decode()
    choose(client, LIST, "disable", endpoint.pk)
    assert WebhookEndpoint.objects.get().status == "disabled"


def test_an_address_is_deleted_with_its_deliveries_and_these_not_alone(
    client: Client, receiver: Receiver
) -> None:
    endpoint = endpoint_at(receiver.url)
    endpoints.send_test(endpoint)
    administrator(client, "view_webhookendpoint", "view_webhookdelivery", "delete_webhookendpoint")
    row = WebhookDelivery.objects.get()
    alone = reverse("admin:spotify_auth_webhookdelivery_delete", args=[row.pk])
    assert client.post(alone, {"post": "yes"}).status_code == 403

    whole = reverse("admin:spotify_auth_webhookendpoint_delete", args=[endpoint.pk])
    assert client.post(whole, {"post": "yes"}).status_code == 302

    assert not WebhookEndpoint.objects.exists()
    assert not WebhookDelivery.objects.exists()


def test_who_may_only_look_changes_nothing(client: Client, receiver: Receiver) -> None:
    endpoint = endpoint_at(receiver.url)
    endpoints.send_test(endpoint)
    delivery.deliver_due(endpoint.pk)
    administrator(client, "view_webhookendpoint", "view_webhookdelivery")

    assert client.get(ADD).status_code == 403
    for action in ("send_test", "renew_secret", "enable", "disable"):
        choose(client, LIST, action, endpoint.pk)
    choose(client, DELIVERIES, "send_again", WebhookDelivery.objects.get().pk)

    after = WebhookEndpoint.objects.get()
    assert (after.secret, after.previous_secret) == (endpoint.secret, None)
    assert WebhookDelivery.objects.get().status == "delivered"
    assert not LogEntry.objects.exists()
    client.logout()
    assert client.get(LIST).status_code == 302
