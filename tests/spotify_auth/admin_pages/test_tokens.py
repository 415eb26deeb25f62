"""The list and the page of tokens: words, badges and filters that agree."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.test import Client

from accounts.models import User
from spotify_auth import chores, verbs
from spotify_auth.admin_pages.conditions import condition_of
from spotify_auth.admin_pages.needs import NEEDS
from spotify_auth.connections import database_now
from spotify_auth.models import Cause, Outcome, SpotifyToken, TokenEvent
from spotify_auth.verbs import Operator
from tests.support.admin import enter_admin
from tests.support.tokens import Connect, token_of

pytestmark = pytest.mark.django_db

TOKENS = "/admin/spotify_auth/spotifytoken/"
MINUTE = timedelta(minutes=1)


@pytest.fixture
def admin(client: Client) -> Client:
    enter_admin(client, User.objects.create(username="root", is_staff=True, is_superuser=True))
    return client


def seen(page: str) -> str:
    """The text of a page, without its marks."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


FRESH = {"due_at": Now() + 10 * MINUTE, "expires_at": Now() + 20 * MINUTE}
LATE = {"refreshed_at": Now() - 50 * MINUTE, "due_at": Now() - 3 * MINUTE}
ASKED = {**FRESH, "refreshed_at": Now() - 9 * MINUTE, "due_at": Now() - 9 * MINUTE}
FAILING = {**FRESH, "failures": 3, "last_error": "http_503"}


@pytest.mark.parametrize(
    ("row", "condition", "needs"),
    [
        (FRESH, "fresh", set()),
        # No worker has come to it, but it will do for a while.
        ({**LATE, "expires_at": Now() + 16 * MINUTE}, "overdue", {"overdue"}),
        ({**LATE, "expires_at": Now() + 14 * MINUTE}, "overdue", {"overdue", "expiring"}),
        ({**LATE, "expires_at": Now() - MINUTE}, "expired", {"overdue", "expiring", "lost"}),
        # Somebody asked for it a moment ago: it is due "since its issue", and late for nobody.
        (
            {**FRESH, "refreshed_at": Now() - 9 * MINUTE, "due_at": Now() - 9 * MINUTE},
            "fresh",
            set(),
        ),
        (FAILING, "retrying", {"failing"}),
        ({**FAILING, "expires_at": Now() + 14 * MINUTE}, "retrying", {"failing", "expiring"}),
        ({**FAILING, "failures": 2, "expires_at": Now() + 14 * MINUTE}, "retrying", {"failing"}),
        ({**FAILING, "expires_at": Now() - MINUTE}, "expired", {"failing", "expiring", "lost"}),
        ({**FAILING, "suspected_at": Now()}, "suspected", {"failing", "suspected"}),
        # Its user has not been here for long: it is let expire on purpose.
        ({"due_at": Now() + 99 * MINUTE, "expires_at": Now() - MINUTE}, "sleeping", set()),
        ({**FRESH, "reauthorize_by": Now() + timedelta(days=29)}, "fresh", {"reconnect_soon"}),
        # Six months after an approval of which only the latest possible time is known.
        (
            {**FRESH, "reauthorize_by": Now() + timedelta(days=29), "authorized_at_known": False},
            "fresh",
            set(),
        ),
        ({**FRESH, "last_error": "undecryptable", "failures": 1}, "unreadable", {"failing"}),
        ({**FAILING, "status": "reconnect_required"}, "reconnect_required", set()),
    ],
)
def test_the_badge_and_the_filters_agree(
    connect: Connect, row: dict[str, Any], condition: str, needs: set[str]
) -> None:
    user = connect(due=False)
    SpotifyToken.objects.filter(pk=user.pk).update(**row)

    found = {
        need.code
        for need in NEEDS.values()
        if SpotifyToken.objects.filter(need.condition()).exists()
    }

    assert condition_of(token_of(user), now=database_now()).code == condition
    assert found == needs


def test_a_row_says_how_when_and_why(admin: Client, connect: Connect) -> None:
    user = connect("user-1")
    SpotifyToken.objects.filter(pk=user.pk).update(
        failures=2,
        last_error="http_503",
        refreshed_at=Now() - 50 * MINUTE,
        due_at=Now() - 3.5 * MINUTE,
        expires_at=Now() + 5.5 * MINUTE,
    )
    TokenEvent.objects.create(
        user=user, cause=Cause.SCHEDULE, outcome=Outcome.RETRY, error="http_503"
    )
    due_at = token_of(user).due_at

    page = admin.get(TOKENS).content.decode()

    row = seen(page[page.index("<tbody>") :])
    assert "▲ Retrying" in row
    assert "expires in 5 min" in row
    assert "overdue by 3 min" in row
    assert "Failed, will be tried again: Spotify answered 503" in row
    assert f'title="{due_at:%Y-%m-%d %H:%M:%S} UTC">overdue by' in page
    assert re.search(r"▲ Failing 1 ", seen(page))
    assert re.search(r"✓ No fresh token 0 ", seen(page))


def test_the_page_of_a_token_tells_facts_history_and_what_to_press(
    admin: Client, connect: Connect
) -> None:
    user, other = connect("user-1", due=False), connect("user-2")
    TokenEvent.objects.create(
        user=user,
        cause=Cause.ADMIN,
        asked_by="root",
        reason="ticket 17",
        outcome=Outcome.REFRESH_REQUESTED,
    )
    token = token_of(user)

    page = admin.get(f"{TOKENS}{user.pk}/change/").content.decode()

    text = seen(page)
    assert "● Connected The access token is fresh" in text
    assert "What to press: Nothing." in text
    assert f"{token.expires_at:%Y-%m-%d %H:%M:%S} UTC ( in" in text
    assert re.search(r"Encrypted under: key [0-9a-f]{8}, the first", text)
    assert "An administrator asked root ticket 17" in text
    assert "The user logged in" in text
    assert "Fresh without a gap" in text
    assert f"?user={user.pk}" in page
    whole = admin.get(f"/admin/spotify_auth/tokenevent/?user={user.pk}").context["cl"]
    assert {event.user_id for event in whole.result_list} == {user.pk} != {other.pk}


def test_what_is_not_known_of_the_six_months_is_said(admin: Client, connect: Connect) -> None:
    user = connect()
    SpotifyToken.objects.filter(pk=user.pk).update(authorized_at_known=False)

    text = seen(admin.get(f"{TOKENS}{user.pk}/change/").content.decode())

    token = token_of(user)
    assert f"not known: {token.authorized_at:%Y-%m-%d %H:%M:%S} UTC or earlier" in text
    assert f"not known: {token.reauthorize_by:%Y-%m-%d %H:%M:%S} UTC at the latest" in text


def test_the_list_says_that_nothing_is_refreshed(admin: Client) -> None:
    """And no word of comfort beside it: due tokens count as overdue only after a minute."""
    page = admin.get(TOKENS).content.decode()
    assert "Renewal is not running" in page
    assert "Nobody loses access" not in page
    assert "All refreshing is paused" not in page
    chores.take(chores.SWEEP, every=MINUTE)
    assert "Nobody loses access" in admin.get(TOKENS).content.decode()
    verbs.pause_all(operator=Operator.named("ops"), reason="ticket 17")

    page = seen(admin.get(TOKENS).content.decode())

    assert "Renewal is not running" not in page
    assert "Nobody loses access" not in page
    # The clock of this test's transaction stands still: by it, the pause lies ahead.
    assert re.search(r"All refreshing is paused, (now|in \d+ s) by ops: ticket 17\.", page)


def test_the_list_is_sorted_by_no_column(admin: Client, connect: Connect) -> None:
    users = [connect(f"user-{n}") for n in range(3)]

    for order in ("", *(f"?o={column}" for column in range(1, 9))):
        shown = [token.pk for token in admin.get(TOKENS + order).context["cl"].result_list]
        assert shown == [user.pk for user in reversed(users)], order


@pytest.mark.parametrize("term", ["maya", "MAYA LIND", "maya@ex", "{account_id}", "{pk}"])
def test_a_search_finds_the_beginning_of_a_name_or_all_of_an_account(
    admin: Client, connect: Connect, term: str
) -> None:
    user, _ = connect("user-1"), connect("user-2")
    User.objects.filter(pk=user.pk).update(display_name="Maya Lindqvist", email="maya@example.com")
    term = term.format(pk=user.pk, account_id=token_of(user).account_id)

    found = admin.get(TOKENS, {"q": term}).context["cl"].result_list

    assert [token.pk for token in found] == [user.pk]
