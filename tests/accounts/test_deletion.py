"""Deleting an account: everything goes, also while the token is being refreshed."""

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import ReconnectReminder, User
from spotify_auth.models import SpotifyToken, TokenEvent
from spotify_auth.refresh.refresher import refresh_user
from tests.support.processes import wait_for
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Connect, Elsewhere, waiting_for_a_lock

pytestmark = pytest.mark.django_db(transaction=True)

ADDRESS = reverse("accounts:delete_account")


def everything() -> list[int]:
    """How much there is of anybody."""
    models = (User, SpotifyToken, TokenEvent, ReconnectReminder)
    return [model._default_manager.count() for model in models]


def test_nothing_is_left(connect: Connect, client: Client) -> None:
    user = connect()
    refresh_user(user.pk)
    client.force_login(user)

    assert "Delete your account?" in client.get(ADDRESS).content.decode()
    assert everything()[:2] == [1, 1]  # looking deletes nothing
    response = client.post(ADDRESS)

    assert (response.status_code, response["Location"]) == (302, reverse("accounts:home"))
    assert everything() == [0, 0, 0, 0]
    assert "_auth_user_id" not in client.session
    assert client.get(reverse("accounts:dashboard")).status_code == 302


def test_others_stay(connect: Connect, client: Client) -> None:
    client.force_login(connect("user-1"))
    other = connect("user-2")

    client.post(ADDRESS)

    assert User.objects.get() == other
    assert SpotifyToken.objects.get().user == other


def test_an_exchange_under_way_is_waited_for_and_stores_nothing_afterwards(
    connect: Connect, client: Client, spotify: Sandbox, elsewhere: Elsewhere
) -> None:
    user = connect()
    client.force_login(user)
    spotify.faults("hold", times=1)
    lane = elsewhere(refresh_user, user.pk)
    wait_for(lambda: spotify.stats()["held"] == 1, what="the exchange to be in flight")
    deleting = elsewhere(client.post, ADDRESS)
    wait_for(waiting_for_a_lock, what="the deletion to wait")

    spotify.release()

    lane.result()
    deleting.result()
    assert everything() == [0, 0, 0, 0]
    assert spotify.stats()["totals"]["reuses_of_dead_token"] == 0


def test_an_administrator_is_not_deleted_by_a_click(client: Client, admin_user: User) -> None:
    client.force_login(admin_user)

    assert client.post(ADDRESS).status_code == 403
    assert User.objects.filter(pk=admin_user.pk).exists()


def test_strangers_delete_nobody(client: Client, connect: Connect) -> None:
    connect()

    assert client.post(ADDRESS).status_code == 302
    assert User.objects.count() == 1
