"""The admin: read-only, silent about tokens, named actions with a reason."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from accounts.models import User
from spotify_auth import connections, verbs
from spotify_auth.admin_pages import acting, lists
from spotify_auth.admin_pages.actions import ACTIONS
from spotify_auth.models import Cause, Outcome, SpotifyToken
from spotify_auth.verbs import Operator
from tests.support.admin import enter_admin, group
from tests.support.database_faults import locked_elsewhere
from tests.support.lanes import refresh_next
from tests.support.many import fill
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Connect, token_of

pytestmark = pytest.mark.django_db

TOKENS = "/admin/spotify_auth/spotifytoken/"
EVENTS = "/admin/spotify_auth/tokenevent/"


@pytest.fixture
def admin(client: Client) -> Client:
    enter_admin(client, User.objects.create(username="root", is_staff=True, is_superuser=True))
    return client


def act(admin: Client, action: str, *users: User, **more: str) -> str:
    form = {"action": action, "_selected_action": [str(user.pk) for user in users], **more}
    return admin.post(TOKENS, form, follow=True).content.decode()


def confirm(admin: Client, action: str, *users: User, reason: str = "ticket 17") -> str:
    return act(admin, action, *users, confirmed="yes", reason=reason)


def test_lists_filter_and_search(admin: Client, connect: Connect) -> None:
    connect("user-1")

    for query in ("", "?status__exact=active", "?q=user-1"):
        assert "user-1" in admin.get(TOKENS + query).content.decode()
    assert "1 Spotify token" not in admin.get(f"{TOKENS}?status__exact=revoked").content.decode()
    assert admin.get(f"{EVENTS}?outcome__exact=connected").status_code == 200


def test_a_list_of_millions_is_not_counted(
    admin: Client, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "MOST_COUNTED", 3)
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
    fill(2000)
    with CaptureQueriesContext(database) as queries:
        admin.get(TOKENS)

    (sql,) = (query["sql"] for query in queries if "SELECT DISTINCT" in query["sql"])
    with database.cursor() as cursor:
        cursor.execute(f"EXPLAIN {sql}")
        assert "token_error" in str(cursor.fetchall())


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

    question = act(admin, "refresh_now", user)
    with django_capture_on_commit_callbacks() as messages:
        answer = confirm(admin, "refresh_now", user)

    assert "Refresh these tokens?" in question
    assert "Refresh now, 1 token: Asked for" in answer
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
    answer = confirm(admin, "revoke", user)
    assert "Revoke, 1 token: Revoked: both tokens are erased here" in answer
    assert token_of(user).refresh_token is None


@pytest.mark.parametrize("action", ["refresh_now", "revoke"])
@pytest.mark.parametrize("reason", ["", "   ", "\u200b\n", "x" * 201])
def test_an_action_without_a_reason_asks_again(
    admin: Client, connect: Connect, action: str, reason: str
) -> None:
    user = connect(due=False)

    question = confirm(admin, action, user, reason=reason)

    assert "errorlist" in question
    assert token_of(user).status == SpotifyToken.Status.ACTIVE
    assert token_of(user).due_cause == Cause.SCHEDULE
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize(
    ("action", "outcome", "what"),
    [
        ("refresh_now", Outcome.REFRESH_REQUESTED, "Refresh requested"),
        ("revoke", Outcome.REVOKED, "Revoked"),
    ],
)
def test_who_did_it_and_why_is_in_both_records(
    admin: Client,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    action: str,
    outcome: Outcome,
    what: str,
) -> None:
    user = connect(due=False)

    with caplog.at_level("INFO"):
        confirm(admin, action, user, reason="ticket 17\r\nrefreshed user_id=9")

    event = user.spotify_auth_events.get(outcome=outcome)
    assert (event.cause, event.asked_by) == (Cause.ADMIN, "root")
    assert event.reason == "ticket 17 refreshed user_id=9"
    entry = LogEntry.objects.get()
    assert (entry.user.get_username(), entry.object_id) == ("root", str(user.pk))
    assert entry.change_message == f"{what}: ticket 17 refreshed user_id=9"
    assert entry.get_edited_object() == token_of(user)
    assert 'asked_by="root"' in caplog.text
    assert "ticket" not in caplog.text  # words about a person stay out of the log


def test_says_of_whom_the_list_does_not_show_any_more_that_nothing_was_done(
    admin: Client, connect: Connect
) -> None:
    failing, well = connect("user-1", due=False), connect("user-2", due=False)
    SpotifyToken.objects.filter(pk=failing.pk).update(failures=1)  # both were, as they were ticked

    def act_on(*users: User, **more: str) -> str:
        form = {"action": "pause", "_selected_action": [str(user.pk) for user in users], **more}
        return admin.post(f"{TOKENS}?needs=failing", form, follow=True).content.decode()

    yes = {"confirmed": "yes", "reason": "ticket 17"}
    for answer in (act_on(well), act_on(well, **yes)):
        assert "Nothing is done with 1 of 1 tokens that were chosen" in answer
        assert "What it does" not in answer
    answer = act_on(failing, well, **yes)

    assert "Nothing is done with 1 of 2 tokens that were chosen" in answer
    assert "Pause refreshing, 1 token: Paused." in answer
    assert [token_of(user).status for user in (failing, well)] == ["paused", "active"]
    assert "No token matches any more" in act_on(well, select_across="1", **yes)


def test_neither_record_is_written_for_what_was_not_done(admin: Client, connect: Connect) -> None:
    user = connect()
    connections.disconnect(user_id=user.pk)

    for action in ACTIONS:
        assert "1 token: The tokens are erased" in confirm(admin, action, user)

    assert not LogEntry.objects.exists()
    assert not user.spotify_auth_events.filter(cause=Cause.ADMIN).exists()


def test_an_administrator_without_a_username_has_a_number(client: Client, connect: Connect) -> None:
    user, linked = connect("user-1", due=False), connect("user-2")
    User.objects.filter(pk=linked.pk).update(is_staff=True, is_superuser=True)
    enter_admin(client, User.objects.get(pk=linked.pk))

    for action in ("refresh_now", "revoke"):
        confirm(client, action, user)

    names = set(
        user.spotify_auth_events.filter(cause=Cause.ADMIN).values_list("asked_by", flat=True)
    )
    assert names == {f"user {linked.pk}"}


def test_a_name_breaks_no_line(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    user = connect(due=False)
    forger = User.objects.create(username='a\nrevoked "x" \x1b[2J\u202e' + "y " * 60)

    with caplog.at_level("INFO"):
        verbs.refresh(user.pk, operator=Operator.of(forger), reason="r")
        verbs.revoke(user.pk, operator=Operator.of(forger), reason="r")

    lines = [record.getMessage() for record in caplog.records if "asked_by" in record.getMessage()]
    assert len(lines) == 2
    assert all(line.isprintable() and "asked_by=\"a revoked 'x' [2J y" in line for line in lines)
    names = user.spotify_auth_events.filter(cause=Cause.ADMIN).values_list("asked_by", flat=True)
    assert all(len(name) <= 100 and name.isprintable() for name in names)


ROLES = {
    "Look at tokens": set(),
    "Refresh tokens": {"refresh_now"},
    "Revoke tokens": {"revoke"},
    "Pause tokens": {"pause", "resume"},
    "Judge tokens": {"believe", "forgive", "require_reconnect"},
    "Manage users": set(),
}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_offered_its_own_actions_and_can_post_no_other(
    client: Client, connect: Connect, role: str
) -> None:
    user = connect(due=False)
    person = User.objects.create(username="person", is_staff=True)
    person.groups.add(group(role))
    enter_admin(client, person)

    page = client.get(TOKENS).content.decode()

    assert "user-1" in page
    assert {action for action in ACTIONS if f'<option value="{action}">' in page} == ROLES[role]
    # On its page are those that work on the token as it is: it is active, and in no trouble.
    alone = client.get(f"{TOKENS}{user.pk}/change/").content.decode()
    buttons = set(re.findall(r'<button name="action" value="(\w+)"', alone))
    assert buttons == ROLES[role] - {"resume", "believe", "forgive"}
    assert client.get(EVENTS).status_code == 200
    for action in ("refresh_now", "pause", "require_reconnect", "revoke"):
        confirm(client, action, user)
        assert LogEntry.objects.exists() == (action in ROLES[role])
        LogEntry.objects.all().delete()
        SpotifyToken.objects.exclude(status="revoked").update(
            due_cause=Cause.SCHEDULE, status="active"
        )


def test_no_page_shows_a_token(admin: Client, connect: Connect) -> None:
    user = connect()
    token = token_of(user)
    event = user.spotify_auth_events.get()

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
    monkeypatch.setattr(acting, "SHOWN", 2)
    users = [connect(f"user-{n}") for n in range(5)]

    question = revoke_all(admin, users[0])

    assert question.count("(Connected)") == 2
    assert "<p>5 tokens:</p>" in question
    assert "and 3 more" in question
    chosen = [str(pk) for pk in re.findall(r'name="_selected_action" value="(\d+)"', question)]
    assert sorted(chosen) == sorted(str(user.pk) for user in users)


@pytest.mark.django_db(transaction=True)
def test_revoking_says_which_lock_did_not_come_free(
    admin: Client, connect: Connect, settings: Settings
) -> None:
    settings.TOKEN_ENDPOINT_DEADLINE_SECONDS = -2  # so that it waits for a second: 2 x -2 + 5
    busy, free = connect("user-1"), connect("user-2")
    row = "SELECT FROM spotify_auth_spotifytoken WHERE user_id = %s FOR UPDATE"
    with locked_elsewhere(row, busy.pk):
        answer = confirm(admin, "revoke", busy, free)

    assert "Revoke, 1 token: The row stayed locked" in answer
    assert "Revoke, 1 token: Revoked" in answer
    assert [token_of(user).status for user in (busy, free)] == ["active", "revoked"]
