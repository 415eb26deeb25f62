"""The link in a reminder, when a page of somebody else's sends a browser there."""

import pytest
from playwright.sync_api import Page, expect

from accounts.models import User
from spotify_auth.models import SpotifyToken
from tests.support.browser import Stack, Visitor
from tests.support.hosts import STRANGER, page_of_another_host
from tests.support.tokens import token_of

pytestmark = pytest.mark.browser


def visit_a_stranger(page: Page, stack: Stack) -> None:
    """A page of another host that sends its visitors to the link at once."""
    script = f'<script>location = "{stack.url}/spotify/reconnect/"</script>'
    with page_of_another_host(script) as port:
        page.goto(f"http://{STRANGER}:{port}/")
        page.wait_for_url(f"{stack.url}/**")
        # Spotify knows this browser, and would send it straight back.
        page.wait_for_load_state("networkidle")


def test_a_stranger_cannot_undo_a_disconnect(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    visitor.log_in()
    page.goto(f"{stack.url}/connection/")
    page.get_by_role("button", name="Disconnect Spotify").click()
    expect(page.get_by_role("status")).to_have_text("Not connected")

    visit_a_stranger(page, stack)

    expect(page.get_by_text("It stays disconnected unless you press the button.")).to_be_visible()
    visitor.look("reconnect-disconnected")
    token = token_of(User.objects.get())
    assert (token.status, token.access_token) == (SpotifyToken.Status.DISCONNECTED, None)
    assert stack.sandbox.stats("listener")["logins"] == 1
    page.get_by_role("button", name="Connect Spotify").click()
    page.locator('button[value="listener"]').click()
    expect(page.get_by_role("status")).to_have_text("Connected")


def test_a_stranger_cannot_bring_a_deleted_account_back(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    visitor.log_in()
    page.goto(f"{stack.url}/account/delete/")
    page.get_by_role("button", name="Delete my account").click()
    expect(page.get_by_role("button", name="Log in with Spotify")).to_be_visible()

    visit_a_stranger(page, stack)

    expect(page.get_by_text("after a deletion it makes a new account")).to_be_visible()
    visitor.look("reconnect-nobody")
    assert not User.objects.exists()
    assert not SpotifyToken.objects.exists()


def test_the_link_of_a_mail_leads_to_spotify_by_one_click(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    visitor.log_in()

    page.goto(f"{stack.url}/spotify/reconnect/")
    visitor.look("reconnect-connected")
    visitor.tab_to(page.get_by_role("button", name="Reconnect Spotify"))
    page.keyboard.press("Enter")
    # Spotify asks once more, so that another six months surely begin.
    page.locator('button[value="listener"]').click()

    page.wait_for_url(f"{stack.url}/connection/")
    expect(page.get_by_role("status")).to_have_text("Connected")
    assert stack.sandbox.stats("listener")["logins"] == 2
