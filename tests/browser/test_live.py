"""Pages that update by themselves disturb nobody who is using them."""

from collections import Counter
from datetime import timedelta

import pytest
from django.db.models import F
from django.db.models.functions import Now
from playwright.sync_api import expect

from accounts.models import User
from spotify_auth import connections
from spotify_auth.models import SpotifyToken, TokenEvent
from tests.support.browser import Stack, Visitor
from tests.support.processes import wait_for
from tests.support.tokens import make_due, token_of

pytestmark = pytest.mark.browser


_BURST = """
({path, count}) => Promise.all(Array.from({length: count}, async () => {
    const answer = await fetch(path);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const heading = page.querySelector("main h1").textContent.trim();
    return `${answer.status} ${new URL(answer.url).pathname} ${heading}`;
}))
"""


def wait_for_poll(visitor: Visitor) -> None:
    """Wait until the page has asked the server once more, and taken the answer in."""
    page = visitor.page
    with page.expect_response(lambda response: "hx-request" in response.request.headers):
        pass
    visitor.wait_for_what_was_asked()


def test_the_table_keeps_its_scrolling_and_the_keyboard_its_place(
    stack: Stack, visitor: Visitor
) -> None:
    page = visitor.page
    page.set_viewport_size({"width": 320, "height": 800})
    visitor.log_in()
    page.goto(f"{stack.url}/connection/")
    table = page.get_by_role("region", name="History")
    table.evaluate("table => { table.scrollLeft = 150; table.focus() }")
    before = page.locator("#facts").inner_text()

    wait_for_poll(visitor)

    assert page.locator("#facts").inner_text() != before
    assert table.evaluate("table => table.scrollLeft") == 150
    expect(table).to_be_focused()
    button = page.get_by_role("button", name="Disconnect Spotify")
    button.focus()
    wait_for_poll(visitor)
    expect(button).to_be_focused()


def test_the_status_line_speaks_only_when_its_words_change(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    visitor.log_in()
    page.goto(f"{stack.url}/connection/")
    page.evaluate(
        """() => {
            window.spoken = 0
            const line = document.querySelector("[role=status]")
            new MutationObserver(() => { window.spoken += 1 })
                .observe(line, { childList: true, subtree: true, characterData: true })
        }"""
    )

    wait_for_poll(visitor)
    assert page.evaluate("window.spoken") == 0
    SpotifyToken.objects.update(status=SpotifyToken.Status.RECONNECT_REQUIRED)
    expect(page.get_by_role("status")).to_have_text("Reconnect required")
    wait_for_poll(visitor)

    assert page.evaluate("window.spoken") == 1
    expect(page.get_by_role("button", name="Reconnect Spotify")).to_be_visible()


def test_the_page_follows_what_happens_in_another_tab(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    visitor.log_in()
    page.goto(f"{stack.url}/connection/")

    connections.disconnect(user_id=User.objects.get().pk)

    expect(page.get_by_role("status")).to_have_text("Not connected")
    expect(page.locator("#facts")).to_be_hidden()
    expect(page.get_by_role("button", name="Disconnect Spotify")).to_have_count(0)
    # Spotify remembers the approval, and asks again all the same: so six months surely begin.
    page.get_by_role("button", name="Connect Spotify").click()
    page.locator('button[value="listener"]').click()
    expect(page.get_by_role("status")).to_have_text("Connected")
    assert page.url == f"{stack.url}/connection/"


def test_a_page_whose_session_has_ended_goes_to_log_in(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    visitor.log_in()
    page.goto(f"{stack.url}/connection/")

    visitor.context.clear_cookies()

    page.wait_for_url(f"{stack.url}/?next=/connection/**")
    expect(page.get_by_role("banner")).to_have_count(1)
    page.get_by_role("button", name="Log in with Spotify").click()
    page.locator('button[value="listener"]').click()  # that cookie is gone too
    expect(page.get_by_role("heading", name="Your connection to Spotify")).to_be_visible()


def test_a_part_that_was_not_allowed_can_be_allowed_by_reconnecting(
    stack: Stack, visitor: Visitor
) -> None:
    page = visitor.page
    visitor.log_in()
    stack.sandbox.faults(
        "web_api_error", status=403, message="Insufficient client scope", path="/v1/me/playlists"
    )
    page.goto(f"{stack.url}/dashboard/")
    expect(page.get_by_text("You have not allowed this site to see this part.")).to_be_visible()

    page.get_by_role("main").get_by_role("link", name="Reconnect", exact=True).click()
    page.get_by_role("button", name="Reconnect Spotify").click()
    page.locator('button[value="listener"]').click()

    expect(page.get_by_role("cell", name="The user logged in")).to_have_count(2)
    assert User.objects.count() == 1


def test_the_drawing_grows_with_each_refresh_and_moves_nothing(
    stack: Stack, visitor: Visitor
) -> None:
    page = visitor.page
    visitor.log_in()
    page.goto(f"{stack.url}/connection/")
    drawing = page.locator("#timeline")
    expect(drawing).to_contain_text("Not refreshed yet.")
    expect(drawing.locator(".pair")).to_have_count(1)
    button = page.get_by_role("button", name="Switch account")
    button.focus()
    page.evaluate(
        """() => {
            window.shifted = 0
            new PerformanceObserver(list => {
                for (const entry of list.getEntries()) window.shifted += entry.value
            }).observe({ type: "layout-shift" })
        }"""
    )

    SpotifyToken.objects.update(due_at=Now())
    expect(drawing.locator(".pair")).to_have_count(2, timeout=30_000)

    expect(drawing).to_contain_text("Refreshed 1 time in that time")
    expect(drawing).to_contain_text("Fresh without a gap for")
    expect(drawing.locator(".gap")).to_have_count(0)
    wait_for_poll(visitor)
    assert page.evaluate("window.shifted") == 0
    expect(button).to_be_focused()


def test_links_keep_the_keyboards_place_while_a_page_waits_for_a_renewal(
    stack: Stack, visitor: Visitor
) -> None:
    page = visitor.page
    visitor.log_in()
    stack.sandbox.faults("web_api_error", status=401, path="/v1/me/playlists")
    page.goto(f"{stack.url}/dashboard/")
    link = page.locator("#top_tracks-3")
    link.focus()

    wait_for_poll(visitor)

    expect(link).to_be_focused()


def test_recovers_by_itself_when_the_worker_returns(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    visitor.log_in()
    stack.worker.stop()
    before = stack.sandbox.stats("listener")["refreshes_attempted"]

    make_due(User.objects.get(), expired=True)  # as after a lifetime without a worker
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


def a_lifetime_passes(lifetime: int) -> None:
    """So much of it that every token is due, and none has expired."""
    passed = timedelta(seconds=0.85 * lifetime)
    times = ("refreshed_at", "expires_at", "due_at")
    SpotifyToken.objects.update(**{name: F(name) - passed for name in times})


def test_six_tabs_over_an_expiry_cause_one_refresh_a_lifetime(
    stack: Stack, visitor: Visitor, lifetime: int
) -> None:
    visitor.log_in()
    tabs = [visitor.context.new_page() for _ in range(6)]

    for generation in (2, 3):
        a_lifetime_passes(lifetime)
        is_refreshed = False
        while not is_refreshed:
            is_refreshed = token_of(User.objects.get()).generation == generation
            for tab in tabs:
                response = tab.goto(f"{stack.url}/dashboard/")
                assert response
                assert response.ok
                expect(tab.get_by_role("heading", name="Maya Lindqvist")).to_be_visible()

    counts = stack.sandbox.stats("listener")
    refreshed = TokenEvent.objects.filter(outcome="refreshed")
    assert counts["refreshes_attempted"] == refreshed.count() == 2
    assert counts["reuses_of_dead_token"] == 0


def test_a_burst_of_dashboards_over_an_expiry_logs_nobody_out(
    stack: Stack, visitor: Visitor, lifetime: int
) -> None:
    page = visitor.page
    refreshed_before = stack.worker.logs().count(" refreshed user_id=")
    visitor.log_in()

    seen: Counter[str] = Counter()
    for generation in (2, 3):
        a_lifetime_passes(lifetime)
        is_refreshed = False
        while not is_refreshed:
            is_refreshed = token_of(User.objects.get()).generation == generation
            seen.update(page.evaluate(_BURST, {"path": "/dashboard/", "count": 30}))

    assert set(seen) == {"200 /dashboard/ Maya Lindqvist"}, seen
    counts = stack.sandbox.stats("listener")
    assert TokenEvent.objects.filter(outcome="refreshed").count() == 2
    assert counts["refreshes_attempted"] == 2
    assert counts["reuses_of_dead_token"] == 0
    # None of them from a request: each was the worker's.
    wait_for(
        lambda: stack.worker.logs().count(" refreshed user_id=") - refreshed_before == 2,
        what="the worker's lines",
    )
