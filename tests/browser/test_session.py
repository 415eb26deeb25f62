"""From log-in to log-out in a real browser, with real workers behind the pages."""

import re
import time
from collections import Counter

import pytest
from playwright.sync_api import expect

from accounts.models import User
from spotify_auth.models import SpotifyToken, TokenEvent
from tests.support.browser import LIFETIME, Stack, Visitor
from tests.support.processes import wait_for
from tests.support.tokens import token_of

pytestmark = pytest.mark.browser

SOON = 1000.0 * LIFETIME
"""Milliseconds in which a refresh must have become visible."""

_BURST = """
({path, count}) => Promise.all(Array.from({length: count}, async () => {
    const answer = await fetch(path);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const heading = page.querySelector("main h1").textContent.trim();
    return `${answer.status} ${new URL(answer.url).pathname} ${heading}`;
}))
"""

_BEGIN_LOGINS = """
async count => {
    const form = document.querySelector("main form");
    for (let n = 0; n < count; n++)
        await fetch(form.action, {method: "POST", body: new FormData(form), redirect: "manual"});
}
"""


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


def test_recovers_by_itself_when_the_worker_returns(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    visitor.log_in()
    stack.worker.stop()
    before = stack.sandbox.stats("listener")["refreshes_attempted"]

    time.sleep(2 * LIFETIME)  # two lifetimes without a worker
    page.goto(f"{stack.url}/dashboard/")
    expect(page.get_by_role("heading", name="Reconnecting to Spotify")).to_be_visible()
    visitor.look("reconnecting")
    other_tab = visitor.context.new_page()
    other_tab.goto(f"{stack.url}/connection/")
    expect(other_tab.get_by_role("status")).to_contain_text("Reconnecting")
    # Pages asked, nudged and polled; none of them called the token endpoint.
    assert stack.sandbox.stats("listener")["refreshes_attempted"] == before

    stack.worker.start()
    expect(page.get_by_role("heading", name="Maya Lindqvist")).to_be_visible(timeout=30_000)
    expect(other_tab.get_by_role("status")).to_contain_text("Connected", timeout=30_000)
    counts = stack.sandbox.stats("listener")
    assert counts["refreshes_attempted"] == before + 1
    assert counts["logins"] == 1


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


def test_six_tabs_over_an_expiry_cause_one_refresh_a_lifetime(
    stack: Stack, visitor: Visitor
) -> None:
    visitor.log_in()
    tabs = [visitor.context.new_page() for _ in range(6)]

    give_up = time.monotonic() + 1.7 * LIFETIME
    while time.monotonic() < give_up:
        for tab in tabs:
            response = tab.goto(f"{stack.url}/dashboard/")
            assert response
            assert response.ok
            expect(tab.get_by_role("heading", name="Maya Lindqvist")).to_be_visible()

    counts = stack.sandbox.stats("listener")
    refreshed = TokenEvent.objects.filter(outcome="refreshed")
    assert counts["refreshes_attempted"] == refreshed.count() >= 2
    assert counts["reuses_of_dead_token"] == 0
    assert min(event.lifetime_used or 0 for event in refreshed) >= int(LIFETIME * 0.7)


def test_a_burst_of_dashboards_over_an_expiry_logs_nobody_out(
    stack: Stack, visitor: Visitor
) -> None:
    page = visitor.page
    refreshed_before = stack.worker.logs().count(" refreshed user_id=")
    visitor.log_in()

    give_up = time.monotonic() + 2 * LIFETIME
    seen: Counter[str] = Counter()
    while time.monotonic() < give_up:
        seen.update(page.evaluate(_BURST, {"path": "/dashboard/", "count": 30}))

    assert set(seen) == {"200 /dashboard/ Maya Lindqvist"}, seen
    counts = stack.sandbox.stats("listener")
    refreshed = list(TokenEvent.objects.filter(outcome="refreshed"))
    assert 2 <= len(refreshed) <= 3
    assert counts["refreshes_attempted"] == len(refreshed)
    assert counts["reuses_of_dead_token"] == 0
    # None of them from a request: each was the worker's.
    assert stack.worker.logs().count(" refreshed user_id=") - refreshed_before == len(refreshed)


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
