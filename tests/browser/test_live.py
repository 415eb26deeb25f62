"""Pages that update by themselves disturb nobody who is using them."""

import pytest
from playwright.sync_api import Page, expect

from accounts.models import User
from spotify_auth import connections
from spotify_auth.models import SpotifyToken
from tests.support.browser import Stack, Visitor

pytestmark = pytest.mark.browser


def wait_for_poll(page: Page) -> None:
    """Wait until the page has asked the server once more, and taken the answer in."""
    with page.expect_response(lambda response: "hx-request" in response.request.headers):
        pass
    page.wait_for_timeout(100)


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

    wait_for_poll(page)

    assert page.locator("#facts").inner_text() != before
    assert table.evaluate("table => table.scrollLeft") == 150
    expect(table).to_be_focused()
    button = page.get_by_role("button", name="Disconnect Spotify")
    button.focus()
    wait_for_poll(page)
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

    wait_for_poll(page)
    assert page.evaluate("window.spoken") == 0
    SpotifyToken.objects.update(status=SpotifyToken.Status.RECONNECT_REQUIRED)
    expect(page.get_by_role("status")).to_have_text("Reconnect required")
    wait_for_poll(page)

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

    expect(drawing.locator(".pair")).to_have_count(2, timeout=30_000)

    expect(drawing).to_contain_text("Refreshed 1 time in that time")
    expect(drawing).to_contain_text("Fresh without a gap for")
    expect(drawing.locator(".gap")).to_have_count(0)
    wait_for_poll(page)
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

    wait_for_poll(page)

    expect(link).to_be_focused()
