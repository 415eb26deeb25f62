"""The admin: read-only, silent about tokens, two named actions."""

import re

import pytest
from django.contrib.auth.models import Permission
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from accounts.models import User
from spotify_auth import admin as token_admin
from spotify_auth.models import Cause, SpotifyToken
from tests.support.database_faults import locked_elsewhere
from tests.support.lanes import refresh_next
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Connect, token_of

pytestmark = pytest.mark.django_db

TOKENS = "/admin/spotify_auth/spotifytoken/"
EVENTS = "/admin/spotify_auth/tokenevent/"


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("root", password="x"))
    return client


def act(admin: Client, action: str, *users: User, **more: str) -> str:
    form = {"action": action, "_selected_action": [str(user.pk) for user in users], **more}
    return admin.post(TOKENS, form, follow=True).content.decode()


def test_lists_filter_and_search(admin: Client, connect: Connect) -> None:
    connect("user-1")

    for query in ("", "?status__exact=active", "?q=user-1"):
        assert "user-1" in admin.get(TOKENS + query).content.decode()
    assert "1 Spotify token" not in admin.get(f"{TOKENS}?status__exact=revoked").content.decode()
    assert admin.get(f"{EVENTS}?outcome__exact=connected").status_code == 200


def test_a_list_of_millions_is_not_counted(
    admin: Client, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_admin, "MOST_COUNTED", 3)
    for number in range(5):
        connect(f"user-{number}")

    page = admin.get(EVENTS)

    assert page.context["cl"].result_count == 3
    assert admin.get(f"{EVENTS}?q=user-4").context["cl"].result_count == 1
    users = admin.get(reverse("admin:accounts_user_changelist"))
    assert users.context["cl"].result_count == 3


def test_the_errors_there_are_can_be_chosen(admin: Client, connect: Connect) -> None:
    connect("user-1")
    assert "By last error" not in admin.get(TOKENS).content.decode()
    failing = connect("user-2")
    SpotifyToken.objects.filter(pk=failing.pk).update(last_error="http_503")

    assert "?last_error=http_503" in admin.get(TOKENS).content.decode()
    chosen = admin.get(f"{TOKENS}?last_error=http_503").context["cl"].result_list
    assert [token.pk for token in chosen] == [failing.pk]

    SpotifyToken.objects.update(last_error="")
    assert not admin.get(f"{TOKENS}?last_error=http_503").context["cl"].result_list


def test_the_errors_are_read_from_an_index(admin: Client) -> None:
    with CaptureQueriesContext(database) as queries:
        admin.get(TOKENS)

    (sql,) = (query["sql"] for query in queries if "SELECT DISTINCT" in query["sql"])
    with database.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")  # in a table as small as this
        cursor.execute(f"EXPLAIN {sql}")
        assert "token_failing" in str(cursor.fetchall())


@pytest.mark.parametrize("path", ["add/", "{pk}/delete/"])
def test_nothing_can_be_added_or_deleted(admin: Client, connect: Connect, path: str) -> None:
    user = connect()

    assert admin.get(TOKENS + path.format(pk=user.pk)).status_code == 403


def test_nothing_can_be_changed(admin: Client, connect: Connect) -> None:
    user = connect()
    before = token_of(user).status

    admin.post(f"{TOKENS}{user.pk}/change/", {"status": "revoked"})

    assert token_of(user).status == before
    assert b"<select" not in admin.get(f"{TOKENS}{user.pk}/change/").content


def test_refresh_now_is_a_nudge_and_not_a_call(
    admin: Client,
    connect: Connect,
    spotify: Sandbox,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    user = connect(due=False)

    with django_capture_on_commit_callbacks() as messages:
        answer = act(admin, "refresh_now", user)

    assert "1 of 1 tokens will be refreshed" in answer
    assert len(messages) == 1
    assert spotify.stats()["totals"]["refreshes_attempted"] == 0
    assert token_of(user).due_cause == Cause.ADMIN
    refresh_next()
    assert token_of(user).generation == 2


def test_revoking_asks_first_and_says_what_it_cannot_do(admin: Client, connect: Connect) -> None:
    user = connect()

    question = act(admin, "revoke", user)

    assert "no revocation endpoint" in question
    assert "https://www.spotify.com/account/apps/" in question
    assert token_of(user).status == SpotifyToken.Status.ACTIVE
    answer = act(admin, "revoke", user, confirmed="yes")
    assert "1 tokens were erased" in answer
    assert token_of(user).refresh_token is None


def test_who_may_only_look_is_offered_no_action(client: Client, connect: Connect) -> None:
    connect()
    viewer = User.objects.create_user("viewer", password="x", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_spotifytoken"))
    client.force_login(viewer)

    page = client.get(TOKENS).content.decode()

    assert "Spotify token" in page
    assert "Refresh now" not in page
    assert "erase our copy" not in page


def test_no_page_shows_a_token(admin: Client, connect: Connect) -> None:
    user = connect()
    token = token_of(user)
    event = user.token_events.get()

    pages = [
        admin.get(path).content.decode()
        for path in (
            TOKENS,
            f"{TOKENS}{user.pk}/change/",
            f"{TOKENS}{user.pk}/history/",
            EVENTS,
            f"{EVENTS}{event.pk}/change/",
            f"/admin/accounts/user/{user.pk}/change/",
        )
    ]

    for secret in (token.access_token, token.refresh_token):
        assert secret
        assert not any(secret[:12] in page for page in pages)


def revoke_all(admin: Client, user: User, **more: str) -> str:
    """Tick one row, then "select all"."""
    return act(admin, "revoke", user, select_across="1", index="0", **more)


def test_the_confirmation_names_some_and_counts_the_rest(
    admin: Client, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_admin, "SHOWN", 2)
    users = [connect(f"user-{n}") for n in range(5)]

    question = revoke_all(admin, users[0])

    assert question.count("(Connected)") == 2
    assert "the tokens of 5 users" in question
    assert "and 3 more" in question
    chosen = [str(pk) for pk in re.findall(r'name="_selected_action" value="(\d+)"', question)]
    assert sorted(chosen) == sorted(str(user.pk) for user in users)


def test_more_than_the_limit_are_refused_and_nothing_is_done(
    admin: Client, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_admin, "MOST_AT_ONCE", 2)
    users = [connect(f"user-{n}") for n in range(3)]

    answers = [
        revoke_all(admin, users[0]),
        revoke_all(admin, users[0], confirmed="yes"),
        act(admin, "refresh_now", users[0], select_across="1"),
    ]

    assert all("More than 2 tokens are selected, and nothing was done" in a for a in answers)
    assert {token_of(user).status for user in users} == {"active"}
    assert {token_of(user).due_cause for user in users} == {Cause.SCHEDULE}
    assert "2 tokens were erased" in act(admin, "revoke", *users[:2], confirmed="yes")


@pytest.mark.django_db(transaction=True)
def test_revoking_says_which_lock_did_not_come_free(
    admin: Client, connect: Connect, settings: Settings
) -> None:
    settings.TOKEN_ENDPOINT_DEADLINE_SECONDS = -2  # so that it waits for a second: 2 x -2 + 5
    busy, free = connect("user-1"), connect("user-2")
    row = "SELECT FROM spotify_auth_spotifytoken WHERE user_id = %s FOR UPDATE"
    with locked_elsewhere(row, busy.pk):
        answer = act(admin, "revoke", busy, free, confirmed="yes")

    assert "1 tokens were being refreshed" in answer
    assert [token_of(user).status for user in (busy, free)] == ["active", "revoked"]
