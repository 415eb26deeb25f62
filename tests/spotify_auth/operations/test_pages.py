"""The operations page: who may see it and press its buttons, and what it is without Redis."""

import re
import socket
from html import unescape

import pytest
import redis
from django.conf import settings as live_settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.test import Client
from pytest_django import Settings

from accounts.models import User
from dev.process import free_port
from spotify_auth import cooldown, service_pause
from spotify_auth.cooldown import Reason
from tests.support.admin import enter_admin
from tests.support.paces import learned, plant
from tests.support.servers import speaking
from tests.support.tokens import Connect, forget

pytestmark = pytest.mark.django_db

PAGE = "/admin/spotify_auth/operations/"
PART = f"{PAGE}figures/"
HTMX = {"HX-Request": "true"}


@pytest.fixture(autouse=True)
def _no_pause_of_earlier_tests() -> None:
    with redis.Redis.from_url(live_settings.REDIS_URL) as client:
        forget(client, "spotify_auth:*")


def enter(client: Client, *permissions: str) -> User:
    """Come in as a member of the staff who has these permissions."""
    user = User.objects.create(username="ana", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    enter_admin(client, user)
    return user


def enter_as_operator(client: Client) -> User:
    return enter(client, "view_spotifytoken", "view_tokenevent", "operate_service")


def test_only_who_may_see_tokens_sees_it(client: Client) -> None:
    enter(client, "operate_service")

    assert [client.get(path).status_code for path in (PAGE, PART, f"{PAGE}pause/")] == [403] * 3
    assert PAGE not in client.get("/admin/").text


def test_who_may_only_look_has_no_buttons(client: Client) -> None:
    enter(client, "view_spotifytoken")

    assert f"{PAGE}pause/" not in client.get(PAGE).text
    plant(2.0)
    assert f"{PAGE}forget/" not in client.get(PAGE).text
    for code in ("pause", "forget"):
        assert client.post(f"{PAGE}{code}/", {"reason": "ticket 17"}).status_code == 403
    assert learned() == 2.0
    assert service_pause.current() is None
    assert PAGE in client.get("/admin/").text
    assert PAGE in client.get("/admin/spotify_auth/spotifytoken/").text


def test_every_link_of_the_page_leads_somewhere(client: Client, connect: Connect) -> None:
    enter_as_operator(client)
    connect()
    page = client.get(PAGE).text

    links = {unescape(link) for link in re.findall(r'href="(/admin/spotify_auth/[^"]*)"', page)}

    assert len(links) > 5
    # A filter that the list does not know is answered by a redirect to "?e=1".
    assert {link: client.get(link).status_code for link in links} == dict.fromkeys(links, 200)


def test_a_cooldown_of_another_version_is_shown_and_lifted(client: Client) -> None:
    enter_as_operator(client)
    with redis.Redis.from_url(live_settings.REDIS_URL) as server:
        for key in cooldown.KEYS[:2]:
            server.set(key, "a_later_reason", ex=60)

    assert "a reason that this version does not know" in client.get(PAGE).text
    assert "The cool-down is over" in client.post(f"{PAGE}lift/", {"reason": "r"}, follow=True).text
    assert not cooldown.reason()


def test_pausing_and_resuming_ask_for_a_reason(client: Client) -> None:
    user = enter_as_operator(client)

    assert "Say why" in client.post(f"{PAGE}pause/", {"reason": " "}).text
    assert service_pause.current() is None
    said = client.post(f"{PAGE}pause/", {"reason": "ticket 17"}, follow=True).text

    paused = service_pause.current()
    assert paused
    assert (paused.by, paused.reason) == ("ana", "ticket 17")
    assert "ana paused all refreshing" in unescape(said)
    assert f"{PAGE}resume/" in said
    assert f"{PAGE}pause/" not in said
    client.post(f"{PAGE}resume/", {"reason": "over"})
    assert service_pause.current() is None
    assert LogEntry.objects.filter(user=user).count() == 2


def test_a_cool_down_is_lifted_but_not_that_of_a_restoration(
    client: Client, no_cooldown: None
) -> None:
    enter_as_operator(client)

    assert f"{PAGE}lift/" not in client.get(PAGE).text
    cooldown.start_or_raise(Reason.RESTORING, seconds=600)
    assert f"{PAGE}lift/" not in client.get(PAGE).text
    cooldown.stop(Reason.RESTORING)
    cooldown.start_or_raise(Reason.CLIENT_REFUSED, seconds=600)
    assert f"{PAGE}lift/" in client.get(PAGE).text
    client.post(f"{PAGE}lift/", {"reason": "corrected"})

    assert cooldown.left() == 0
    assert LogEntry.objects.filter(change_message="Cool-down lifted: corrected").exists()


def test_a_pace_that_was_learned_is_forgotten_for_a_reason(client: Client) -> None:
    user = enter_as_operator(client)

    assert f"{PAGE}forget/" not in client.get(PAGE).text
    plant(2.0)
    assert f"{PAGE}forget/" in client.get(PAGE).text
    assert "Say why" in client.post(f"{PAGE}forget/", {"reason": " "}).text
    assert learned() == 2.0
    said = client.post(f"{PAGE}forget/", {"reason": "limit raised"}, follow=True).text

    assert "Forgotten until the next 429: 2.0 refreshes a second." in said
    assert f"{PAGE}forget/" not in said
    assert learned() is None
    entry = LogEntry.objects.get()
    assert (entry.user, entry.change_message) == (user, "Pace forgotten: limit raised")


def test_words_that_are_shown_already_are_not_sent_again(client: Client) -> None:
    enter_as_operator(client)
    shown = re.search(r'name="shown" value="(\w+)"', client.get(PAGE).text)
    assert shown

    again = client.get(PART, {"shown": shown[1]}, headers=HTMX)
    other = client.get(PART, {"shown": "x"}, headers=HTMX)

    assert 'id="verdict"' not in again.text
    assert 'id="verdict"' in other.text
    assert "no-store" in again.headers["Cache-Control"]


def test_a_part_whose_session_has_ended_reloads_the_page(client: Client) -> None:
    part = client.get(PART, headers=HTMX)

    assert part.headers["HX-Refresh"] == "true"
    assert part.content == b""
    assert client.get(PAGE).status_code == 302


def test_without_redis_the_page_says_what_it_does_not_know(
    client: Client, settings: Settings
) -> None:
    enter_as_operator(client)
    asked = []

    def hang(connection: socket.socket) -> None:
        asked.append(1)
        connection.settimeout(30)
        while connection.recv(1024):
            pass

    with speaking(hang) as port:
        settings.REDIS_URL = f"redis://127.0.0.1:{port}/0"
        pages = [client.get(PAGE).text for _ in range(2)]
        said = client.post(f"{PAGE}lift/", {"reason": "try"}, follow=True).text
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    pages.append(client.get(PAGE).text)

    for page in pages:
        assert "Redis does not answer" in page
        assert "unknown" in page
        assert f"{PAGE}lift/" not in page
    assert "Redis does not answer: nothing was changed." in said
    # One wait of a second, and not one for each thing asked. The thread that adds up the reads of
    # an earlier test may ask in the same second.
    assert 1 <= len(asked) <= 2
