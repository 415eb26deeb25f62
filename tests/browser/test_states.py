"""Every state that a person can meet: its words, its one way on, and no barriers.

`visitor.look` sees each of them light and dark, wide and narrow.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from playwright.sync_api import Page, expect

from accounts.models import User
from spotify_auth import cooldown
from spotify_auth.models import SpotifyToken
from tests.support.browser import Stack, Visitor

pytestmark = pytest.mark.browser


def only_way_on(page: Page, label: str) -> None:
    """The page offers this, and nothing else as loudly."""
    expect(page.locator("main .primary")).to_have_count(1)
    expect(page.locator("main .primary")).to_have_text(label)


def keep_as_it_is(stack: Stack, **changes: object) -> None:
    """Give the token a state that lasts: no worker touches it."""
    # No page asks for one that failed and waits for less than two hours (`tokens.nudge`).
    SpotifyToken.objects.update(due_at=Now() + timedelta(hours=1), **changes)


def test_home_connected_and_about_to_end(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    page.goto(stack.url)
    visitor.look("home")
    visitor.log_in()
    keep_as_it_is(stack, expires_at=Now() + timedelta(hours=1))
    for path, name in (("/dashboard/", "dashboard"), ("/connection/", "connection")):
        page.goto(stack.url + path)
        visitor.look(name)
    expect(page.locator("main .primary")).to_have_count(0)
    page.goto(f"{stack.url}/account/delete/")
    visitor.look("delete-account")

    SpotifyToken.objects.update(reauthorize_by=Now() + timedelta(days=20))
    page.goto(f"{stack.url}/dashboard/")
    expect(page.get_by_role("heading", name="Please reconnect by")).to_be_visible()
    visitor.look("reconnect-soon")
    SpotifyToken.objects.update(reauthorize_by=Now() + timedelta(days=6, hours=1))
    page.goto(f"{stack.url}/connection/")
    expect(page.get_by_role("heading", name="Only 6 days left")).to_be_visible()
    visitor.look("reconnect-urgent")
    only_way_on(page, "Reconnect now")
    page.locator("main .primary").click()
    page.locator('button[value="listener"]').click()  # Spotify asks again
    expect(page.get_by_role("heading", name="Only 6 days left")).to_have_count(0)
    expect(page.get_by_role("status")).to_have_text("Connected")


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("invalid_grant", "Spotify no longer accepts this connection."),
        ("answer_lost", "An answer from Spotify was lost on its way to us"),
        ("six_months_over", "Spotify ends every connection six months after it was approved."),
        ("backup_restored", "We had to restore a backup of this site"),
    ],
)
def test_reconnect_required(stack: Stack, visitor: Visitor, reason: str, words: str) -> None:
    page = visitor.page
    visitor.log_in()
    keep_as_it_is(
        stack,
        status="reconnect_required",
        last_error=reason,
        refreshed_at=Now() - timedelta(seconds=20),
        expires_at=Now() - timedelta(seconds=8),
    )

    for path in ("/dashboard/", "/connection/"):
        page.goto(stack.url + path)
        expect(page.get_by_text(words)).to_be_visible()
        only_way_on(page, "Reconnect Spotify")
        visitor.look(f"reconnect-required-{reason}{'-connection' * ('connection' in path)}")
    expect(page.locator("#timeline .gap")).not_to_have_count(0)
    expect(page.locator("#timeline")).to_contain_text("Not fresh for")
    page.locator("main .primary").click()
    page.locator('button[value="listener"]').click()  # Spotify asks again
    expect(page.get_by_role("status")).to_have_text("Connected")


def test_paused(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    visitor.log_in()
    SpotifyToken.objects.update(
        status="paused",
        refreshed_at=Now() - timedelta(seconds=20),
        expires_at=Now() - timedelta(seconds=8),
    )

    for path in ("/dashboard/", "/connection/"):
        page.goto(stack.url + path)
        expect(page.get_by_text("An administrator of this site has paused")).to_be_visible()
        only_way_on(page, "Reconnect now")
        visitor.look(f"paused{'-connection' * ('connection' in path)}")
    page.locator("main .primary").click()
    page.locator('button[value="listener"]').click()  # Spotify asks again
    expect(page.get_by_role("status")).to_have_text("Connected")


@pytest.mark.parametrize(
    ("pause", "failures", "words", "buttons"),
    [
        (cooldown.Reason.CLIENT_REFUSED, 0, "This site is not set up correctly", 0),
        (cooldown.Reason.RATE_LIMITED, 0, "Spotify asks this site to slow down", 0),
        # A token's own trouble may end sooner with a log-in.
        (None, 3, "Spotify does not answer as it should", 1),
    ],
)
def test_reconnecting_says_why_and_recovers_by_itself(
    stack: Stack,
    visitor: Visitor,
    pause: cooldown.Reason | None,
    failures: int,
    words: str,
    buttons: int,
) -> None:
    page = visitor.page
    visitor.log_in()
    if pause:
        cooldown.start(pause, seconds=60)
    keep_as_it_is(stack, expires_at=Now(), failures=failures)

    other = visitor.context.new_page()
    for tab, path in ((page, "/dashboard/"), (other, "/connection/")):
        tab.goto(stack.url + path)
        expect(tab.get_by_text(words)).to_be_visible()
        expect(tab.get_by_role("button", name="Reconnect now")).to_have_count(buttons)
    visitor.look(f"reconnecting-{pause or 'unavailable'}")
    keep_as_it_is(stack, expires_at=Now() + timedelta(hours=1), failures=0)

    expect(page.get_by_role("heading", name="Maya Lindqvist")).to_be_visible()
    expect(other.get_by_role("status")).to_have_text("Connected")


def test_not_connected(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    visitor.log_in()
    page.goto(f"{stack.url}/connection/")
    page.get_by_role("button", name="Disconnect Spotify").click()

    for path in ("/connection/", "/dashboard/"):
        page.goto(stack.url + path)
        only_way_on(page, "Connect Spotify")
        visitor.look(f"not-connected{'-connection' * ('connection' in path)}")


@pytest.mark.parametrize(
    ("name", "fault", "words"),
    [
        ("down", {"status": 503}, "Spotify is not answering"),
        ("limited", {"status": 429, "retry_after": "60"}, "Spotify asks us to slow down"),
        (
            "allow-list",
            {"status": 403, "message": "User not registered in the Developer Dashboard"},
            "This Spotify account may not use the site yet",
        ),
    ],
)
def test_the_web_api_answers_nothing(
    stack: Stack, visitor: Visitor, name: str, fault: Mapping[str, Any], words: str
) -> None:
    page = visitor.page
    visitor.log_in()
    stack.sandbox.faults("web_api_error", **fault)

    page.goto(f"{stack.url}/dashboard/")

    expect(page.get_by_role("heading", name=words)).to_be_visible()
    visitor.look(f"web-api-{name}")


def test_a_part_that_was_not_allowed_and_one_that_fails(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    visitor.log_in()
    stack.sandbox.faults(
        "web_api_error", status=403, message="Insufficient client scope", path="/v1/me/playlists"
    )
    stack.sandbox.faults("web_api_error", path="/v1/me/top/artists")

    page.goto(f"{stack.url}/dashboard/")

    expect(page.get_by_text("You have not allowed this site to see this part.")).to_be_visible()
    expect(page.get_by_text("Spotify is not answering at the moment.")).to_be_visible()
    expect(page.get_by_role("heading", name="Maya Lindqvist")).to_be_visible()
    visitor.look("parts-fail")


def test_log_ins_that_fail(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page

    def log_in(persona: str, heading: str, status: int) -> None:
        visitor.context.clear_cookies(path="/authorize")  # Spotify asks again
        page.goto(stack.url)
        page.get_by_role("button", name="Log in with Spotify").click()
        page.locator(f'button[value="{persona}"]').click()
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
        # Chromium reports every status of 400 and more in the console; this one was meant.
        assert str(status) in visitor.complaints.pop()

    stack.sandbox.faults("invalid_client", times=1)
    log_in("listener", "This site is not set up correctly", 503)
    visitor.look("login-misconfigured")
    stack.sandbox.faults("unavailable", times=1)
    log_in("listener", "Spotify is not answering", 503)
    visitor.look("login-no-answer")
    log_in("outsider", "This Spotify account may not use the site yet", 403)
    visitor.look("login-not-allowed")
    only_way_on(page, "Try again with Spotify")


def test_another_account_and_one_that_belongs_to_somebody_else(
    stack: Stack, visitor: Visitor
) -> None:
    page = visitor.page
    visitor.log_in("podcaster")

    def come_back_as(persona: str, button: str, heading: str) -> None:
        visitor.context.clear_cookies(path="/authorize")  # Spotify asks again
        page.goto(f"{stack.url}/connection/")
        page.get_by_role("button", name=button).click()
        page.locator(f'button[value="{persona}"]').click()
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
        assert "409" in visitor.complaints.pop()
        only_way_on(page, "Switch account")

    come_back_as("listener", "Reconnect Spotify", "That is another Spotify account")
    visitor.look("another-account")
    visitor.be(User.objects.create(username="ada"))
    come_back_as("listener", "Connect Spotify", "This Spotify account belongs to another user here")
    visitor.look("linked-to-another")


def test_an_administrator_links_an_account(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    visitor.be(User.objects.create_superuser("root", password="a-long-password-1"))
    page.goto(f"{stack.url}/spotify/reconnect/")
    expect(page.get_by_text("so there is nothing to reconnect")).to_be_visible()
    visitor.look("reconnect-administrator")
    page.get_by_role("link", name="Go to your connection").click()
    page.get_by_role("button", name="Connect Spotify").click()

    expect(page.get_by_role("heading", name="Link a Spotify account to yourself?")).to_be_visible()
    only_way_on(page, "Link with Spotify")
    visitor.look("link")
    page.get_by_label("Your password here").fill("wrong")
    page.get_by_role("button", name="Link with Spotify").click()
    expect(page.get_by_text("That is not your password.")).to_be_visible()
    assert "400" in visitor.complaints.pop()
    visitor.look("link-wrong-password")
    page.get_by_label("Your password here").fill("a-long-password-1")
    page.keyboard.press("Enter")
    page.locator('button[value="listener"]').click()

    page.wait_for_url(f"{stack.url}/connection/")
    expect(page.get_by_role("status")).to_have_text("Connected")
    expect(page.locator("header .name")).to_have_text("root")


def test_logins_that_another_tab_overtook(stack: Stack, visitor: Visitor) -> None:
    first, second = visitor.page, visitor.context.new_page()
    for tab in (first, second):
        tab.goto(stack.url)
        tab.get_by_role("button", name="Log in with Spotify").click()
        expect(tab.locator('button[value="listener"]')).to_be_visible()
    first.locator('button[value="listener"]').click()
    expect(first.get_by_role("heading", name="Maya Lindqvist")).to_be_visible()

    second.locator('button[value="podcaster"]').click()

    expect(second.get_by_role("heading", name="You are logged in already")).to_be_visible()
    assert "409" in visitor.complaints.pop()
    visitor.page = second
    visitor.look("logged-in-meanwhile")
    second.locator("main .primary").click()
    expect(second.get_by_role("heading", name="Maya Lindqvist")).to_be_visible()

    visitor.context.clear_cookies(path="/authorize")  # Spotify asks again
    second.goto(f"{stack.url}/connection/")
    second.get_by_role("button", name="Reconnect Spotify").click()
    first.get_by_role("button", name="Log out").click()
    expect(first.get_by_role("button", name="Log in with Spotify")).to_be_visible()
    second.locator('button[value="listener"]').click()

    expect(second.get_by_role("heading", name="You were logged out meanwhile")).to_be_visible()
    assert "409" in visitor.complaints.pop()
    visitor.look("logged-out-meanwhile")
    only_way_on(second, "Log in with Spotify")
    second.locator("main .primary").click()
    expect(second.get_by_role("heading", name="Maya Lindqvist")).to_be_visible()


def test_an_address_is_kept_and_said_once(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    visitor.log_in()
    page.goto(f"{stack.url}/connection/")
    page.get_by_label("E-mail address").fill("maya@example.org")
    page.get_by_role("button", name="Save").click()

    said = page.get_by_text("Saved: reminders go to maya@example.org.")
    expect(said).to_be_visible()
    visitor.look("address-saved")
    assert User.objects.get().email == "maya@example.org"
    page.reload()
    expect(said).to_have_count(0)


def test_an_address_that_is_none_is_said_beside_the_field(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    visitor.log_in()
    page.goto(f"{stack.url}/connection/")
    field = page.get_by_label("E-mail address")
    field.evaluate("field => { field.form.noValidate = true }")
    field.fill("nowhere")
    field.press("Enter")

    expect(field).to_have_accessible_description("Enter a valid email address.")
    visitor.look("address-refused")
    assert "400" in visitor.complaints.pop()
