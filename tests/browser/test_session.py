"""From log-in to log-out in a real browser, with real workers behind the pages."""

import re
import time

import pytest
from django.db.models.functions import Now
from playwright.sync_api import expect

from accounts.models import User
from spotify_auth.models import Outcome, SpotifyToken, TokenEvent
from tests.support.browser import Stack, Visitor
from tests.support.processes import wait_for
from tests.support.tokens import token_of

pytestmark = pytest.mark.browser

LIFETIME = 12
"""Seconds that an access token lives here, so that tests can wait for what is due."""
SOON = 1000.0 * LIFETIME
"""Milliseconds in which a refresh must have become visible."""

_BEGIN_LOGINS = """
async count => {
    const form = document.querySelector("main form");
    for (let n = 0; n < count; n++)
        await fetch(form.action, {method: "POST", body: new FormData(form), redirect: "manual"});
}
"""


@pytest.fixture(scope="module")
def lifetime() -> int:
    return LIFETIME


def test_logs_in_sees_two_refreshes_and_logs_out(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    visitor.log_in()

    expect(page.get_by_role("heading", name="Maya Lindqvist")).to_be_visible()
    picture = page.locator(".cards img").first
    picture.scroll_into_view_if_needed()
    wait_for(
        lambda: picture.evaluate("image => image.complete && image.naturalWidth > 0"),
        what="a picture to be loaded",
    )
    page.get_by_role("link", name="Connection").click()
    expect(page.get_by_role("status")).to_contain_text("Connected")
    refreshed = page.get_by_role("cell", name="Refreshed, new refresh token")
    expect(refreshed).to_have_count(2, timeout=2 * SOON)
    visitor.look("connection-refreshed")

    counts = stack.sandbox.stats("listener")
    assert counts["refreshes_attempted"] >= 2  # a third, if the page was slow
    assert counts["reuses_of_dead_token"] == 0
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("button", name="Log in with Spotify")).to_be_visible()
    page.goto(f"{stack.url}/dashboard/")
    expect(page.get_by_role("button", name="Log in with Spotify")).to_be_visible()


def test_a_hundred_and_twenty_five_logins_begun_in_one_browser(
    stack: Stack, visitor: Visitor
) -> None:
    page = visitor.page
    page.goto(stack.url)

    page.evaluate(_BEGIN_LOGINS, 125)

    cookies = [cookie["name"] for cookie in visitor.context.cookies(stack.url)]
    assert cookies.count("login") == 1
    visitor.log_in()
    expect(page.get_by_role("heading", name="Maya Lindqvist")).to_be_visible()


def test_a_revoked_person_is_asked_to_reconnect_and_can(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    visitor.log_in()
    stack.sandbox.revoke("listener")

    page.goto(f"{stack.url}/connection/")
    expect(page.get_by_role("status")).to_contain_text("Reconnect required", timeout=2 * SOON)
    page.get_by_role("link", name="Dashboard").click()
    expect(page.get_by_role("heading", name="Please reconnect Spotify")).to_be_visible()
    page.get_by_role("button", name="Reconnect Spotify").click()
    page.locator('button[value="listener"]').click()

    expect(page.get_by_role("heading", name="Maya Lindqvist")).to_be_visible()
    assert User.objects.count() == 1
    assert token_of(User.objects.get()).status == SpotifyToken.Status.ACTIVE


def test_disconnecting_and_connecting_again(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    visitor.log_in()
    page.goto(f"{stack.url}/connection/")

    page.get_by_role("button", name="Disconnect Spotify").click()

    expect(page.get_by_role("status")).to_contain_text("Not connected")
    assert token_of(User.objects.get()).refresh_token is None
    page.goto(f"{stack.url}/dashboard/")
    expect(page.get_by_role("heading", name="Spotify is not connected")).to_be_visible()
    page.get_by_role("button", name="Connect Spotify").click()
    page.wait_for_url(re.compile("/dashboard/|authorize"))
    if "authorize" in page.url:
        page.locator('button[value="listener"]').click()
    expect(page.get_by_role("heading", name="Maya Lindqvist")).to_be_visible()


def test_no_token_reaches_the_browser(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    visitor.log_in()
    token = token_of(User.objects.get())
    seen = [page.content()]
    page.goto(f"{stack.url}/connection/")
    seen.append(page.content())
    seen.append(str(visitor.context.cookies()))
    seen.append(page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])"))

    for secret in (token.access_token, token.refresh_token):
        assert secret
        assert not any(secret in text for text in seen)


def test_the_drawing_shows_failed_attempts_and_the_gap_they_left(
    stack: Stack, visitor: Visitor
) -> None:
    page = visitor.page
    visitor.log_in()
    stack.sandbox.faults("unavailable", users=["listener"])
    failed = TokenEvent.objects.filter(outcome=Outcome.RETRY)
    wait_for(lambda: failed.count() >= 3, what="attempts to fail")
    fresh = SpotifyToken.objects.filter(expires_at__gt=Now())
    wait_for(lambda: not fresh.exists(), what="a gap", seconds=30)
    time.sleep(2)  # a gap of less than a second would be none
    stack.sandbox.clear()
    wait_for(fresh.exists, what="the end of it", seconds=60)

    page.goto(f"{stack.url}/connection/")
    drawing = page.locator("#timeline")
    expect(drawing.get_by_text("Fresh without a gap for")).to_be_visible()
    expect(drawing.get_by_text("there was a gap of")).to_be_visible()
    expect(drawing.locator("figcaption")).to_contain_text("attempts failed")
    expect(drawing.locator(".gap")).to_have_count(1)
    assert drawing.locator(".failure").count() >= 3
    assert drawing.locator(".trouble").count() == 1
    visitor.look("connection-after-a-gap")
