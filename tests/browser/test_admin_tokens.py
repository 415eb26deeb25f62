"""An operator in the admin: from the list by a filter to an action, and what came of it."""

import pytest
from django.db import connection as database
from playwright.sync_api import expect

from accounts.models import User
from spotify_auth.encryption import cipher
from spotify_auth.models import BulkAction, SpotifyToken, TokenEvent
from tests.support.browser import Stack, Visitor
from tests.support.database_faults import locked_elsewhere

pytestmark = pytest.mark.browser

PEOPLE = 230
"""More than a page acts on by itself."""
# All fail, but for some in every other condition. None is due, so that no lane touches them.
_FILL = """
WITH people AS (
    INSERT INTO accounts_user (password, is_superuser, first_name, last_name, email, is_staff,
        is_active, date_joined, account_id, display_name)
    SELECT '', false, '', '', '', false, true, now(), 'admin-' || n, 'Listener ' || n
    FROM generate_series(1, %(people)s) AS n RETURNING id, account_id
), tokens AS (
    INSERT INTO spotify_auth_spotifytoken (user_id, account_id, status, access_token,
        refresh_token, scope, generation, authorized_at, reauthorize_by, refreshed_at,
        expires_at, due_at, due_cause, failures, last_error)
    SELECT id, account_id, 'active', %(sealed)s, %(sealed)s, 'user-top-read', 7,
        now() - interval '20 days', now() + interval '5 months', now() - interval '50 minutes',
        now() + interval '4 minutes', now() + interval '1 hour', 'schedule', 3, 'http_503'
    FROM people RETURNING user_id
)
INSERT INTO spotify_auth_tokenevent (user_id, at, cause, outcome, rotated, worker, error)
SELECT user_id, now() - interval '2 minutes', 'schedule', 'retry', false, 'host:1', 'http_503'
FROM tokens
"""
# The newest are on top of the list: how each is, and the last event of it.
_WELL = "failures = 0, last_error = '', expires_at = now() + interval '80 minutes'"
_OTHERS = (
    (_WELL, "refreshed", ""),
    (
        "failures = 9, last_error = 'invalid_grant', suspected_at = now() - interval '9 minutes'",
        *("suspected", "invalid_grant"),
    ),
    ("expires_at = now() - interval '3 minutes'", "retry", "http_503"),
    (
        "status = 'reconnect_required', last_error = 'six_months_over'",
        *("reconnect_required", "six_months_over"),
    ),
    ("status = 'paused', failures = 0, last_error = ''", "paused", ""),
    ("status = 'revoked', access_token = NULL, refresh_token = NULL", "revoked", ""),
    (f"{_WELL}, reauthorize_by = now() + interval '9 days'", "refreshed", ""),
)


def test_an_operator_goes_from_the_list_to_the_cause_and_acts(
    stack: Stack, visitor: Visitor
) -> None:
    page = visitor.page
    with database.cursor() as cursor:
        cursor.execute(_FILL, {"people": PEOPLE, "sealed": cipher().current_head + bytes(40)})
        newest = SpotifyToken.objects.order_by("-pk").values_list("pk", flat=True)
        for pk, (change, outcome, error) in zip(newest[: len(_OTHERS)], _OTHERS, strict=True):
            cursor.execute(
                f"UPDATE spotify_auth_spotifytoken SET {change} WHERE user_id = %s",  # noqa: S608
                [pk],
            )
            TokenEvent.objects.filter(user_id=pk).update(outcome=outcome, error=error)
    root = User.objects.create(username="root", is_staff=True, is_superuser=True)
    visitor.be_administrator(root)

    page.goto(f"{stack.url}/admin/spotify_auth/spotifytoken/")
    visitor.picture("admin-tokens")
    page.set_viewport_size({"width": 1280, "height": 800})
    attention = page.get_by_role("navigation", name="What needs attention")
    visitor.tab_to(attention.get_by_role("link", name="Failing"))
    page.keyboard.press("Enter")
    expect(attention.locator("[aria-current=page]")).to_contain_text("Failing")
    failing = SpotifyToken.objects.filter(status="active", failures__gt=0).count()

    # Everybody who matches: a reason, and a worker does it.
    page.set_viewport_size({"width": 390, "height": 800})  # on a phone too
    page.locator("#action-toggle").check()
    page.get_by_role("button", name="Select all").click()
    page.set_viewport_size({"width": 1280, "height": 800})
    page.get_by_label("Action:").select_option(label="Pause refreshing")
    page.get_by_role("button", name="Go").click()
    expect(page.get_by_text("All tokens that match this filter, more than 200")).to_be_visible()
    visitor.picture("admin-confirm")
    page.keyboard.type("ticket 17")
    # A lane might have one of them: the worker waits there while we look.
    halfway = SpotifyToken.objects.filter(failures__gt=0).order_by("pk")[100].pk
    with locked_elsewhere(
        "SELECT FROM spotify_auth_spotifytoken WHERE user_id = %s FOR UPDATE", halfway
    ):
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Cancel the rest")).to_be_visible()
        expect(page.get_by_text(f"100 of {failing} tokens")).to_be_visible()
        visitor.picture("admin-progress")
    # The page brings itself up to date.
    expect(page.get_by_role("heading", name="Done")).to_be_visible(timeout=30_000)
    expect(page.get_by_text(f"{failing} of {failing} tokens")).to_be_visible()
    paused = SpotifyToken.objects.filter(status="paused").count()
    assert paused == BulkAction.objects.get().done + 1 >= failing

    # One of them: its page says why, and has the button.
    page.goto(f"{stack.url}/admin/spotify_auth/spotifytoken/?needs=paused")
    page.get_by_role("link", name="Listener 220").click()
    expect(page.get_by_text("An administrator has paused it")).to_be_visible()
    expect(page.get_by_role("cell", name="ticket 17")).to_be_visible()
    visitor.picture("admin-token")
    visitor.tab_to(page.get_by_role("button", name="Resume refreshing"))
    page.keyboard.press("Enter")
    expect(page.get_by_text("They are due at once.")).to_be_visible()
    page.keyboard.type("ticket 18")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Resume refreshing, 1 token:")).to_be_visible()
    expect(page.get_by_role("cell", name="ticket 18")).to_be_visible()
    page.get_by_role("link", name="History", exact=True).click()
    expect(page.get_by_text("Resumed: ticket 18")).to_be_visible()
