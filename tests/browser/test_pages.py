"""Pages that somebody may meet: refused, broken, empty, hostile; keyboard; the admin."""

from datetime import timedelta
from typing import Literal

import pytest
from django.db.models.functions import Now
from playwright.sync_api import expect

from accounts.models import User
from spotify_auth.models import SpotifyToken
from tests.browser.conftest import Stack, Visitor
from tests.conftest import token_of
from tests.processes import wait_for

pytestmark = pytest.mark.browser


def test_refusing_at_spotify_leads_to_a_page_with_a_way_on(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    page.goto(stack.url)
    page.get_by_role("button", name="Log in with Spotify").click()
    page.get_by_role("button", name="Refuse", exact=True).click()

    expect(page.get_by_role("heading", name="You chose not to connect Spotify")).to_be_visible()
    visitor.screenshot("refused")
    page.get_by_role("button", name="Try again with Spotify").click()
    page.locator('button[value="listener"]').click()
    expect(page.get_by_role("heading", name="Maya Lindqvist")).to_be_visible()
    # Chromium reports every status of 400 and more in the console; this one was meant.
    assert len(visitor.complaints) == 1
    assert "403" in visitor.complaints.pop()


def test_reloading_and_replaying_the_callback_does_no_harm(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    callbacks: list[str] = []
    page.on("request", lambda r: callbacks.append(r.url) if "/callback/" in r.url else None)
    visitor.log_in()
    page.reload()
    expect(page.get_by_role("heading", name="Maya Lindqvist")).to_be_visible()

    page.goto(callbacks[0])

    expect(page.get_by_role("heading", name="This log-in is no longer valid")).to_be_visible()
    page.get_by_role("link", name="open your dashboard").click()
    expect(page.get_by_role("heading", name="Maya Lindqvist")).to_be_visible()
    assert stack.sandbox.stats("listener")["logins"] == 1
    assert "400" in visitor.complaints.pop()


@pytest.mark.parametrize("query", ["", "?code=x", "?state=x", "?error=access_denied&state=x"])
def test_a_made_up_callback_address_leads_to_a_page_with_a_way_on(
    stack: Stack, visitor: Visitor, query: str
) -> None:
    page = visitor.page

    page.goto(f"{stack.url}/spotify/callback/{query}")

    expect(page.get_by_role("heading", name="This log-in is no longer valid")).to_be_visible()
    assert "Traceback" not in page.content()
    page.get_by_role("button", name="Try again with Spotify").click()
    page.locator('button[value="listener"]').click()
    expect(page.get_by_role("heading", name="Maya Lindqvist")).to_be_visible()
    assert "400" in visitor.complaints.pop()


def test_who_is_logged_in_can_log_out_on_the_page_of_a_failed_login(
    stack: Stack, visitor: Visitor
) -> None:
    visitor.log_in()
    visitor.page.goto(f"{stack.url}/spotify/callback/")

    visitor.page.get_by_role("button", name="Log out").click()

    expect(visitor.page.get_by_role("button", name="Log in with Spotify")).to_be_visible()
    assert "400" in visitor.complaints.pop()


def test_the_address_of_a_failed_login_is_told_to_nobody(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    referrers: list[str] = []
    page.goto(f"{stack.url}/spotify/callback/?code=very-secret")
    page.on("request", lambda request: referrers.append(request.headers.get("referer", "")))

    page.get_by_role("button", name="Try again with Spotify").click()

    expect(page.locator('button[value="listener"]')).to_be_visible()
    assert referrers
    assert not any("very-secret" in referrer for referrer in referrers)
    assert "400" in visitor.complaints.pop()


@pytest.mark.parametrize("persona", ["newcomer", "podcaster", "commuter", "trickster"])
@pytest.mark.parametrize("width", [320, 1200])
def test_odd_data_renders_harmlessly(
    stack: Stack, visitor: Visitor, persona: str, width: int
) -> None:
    page = visitor.page
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    page.set_viewport_size({"width": width, "height": 800})

    visitor.log_in(persona)

    expect(page.get_by_role("heading", name="Your playlists")).to_be_visible()
    visitor.screenshot(f"dashboard-{persona}-{width}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator('a[href^="javascript:"]').count() == 0
    assert page.locator("main script").count() == 0
    assert dialogs == []


def test_the_keyboard_alone_logs_in_and_out(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    page.goto(stack.url)
    visitor.tab_to(page.get_by_role("button", name="Log in with Spotify"))
    page.keyboard.press("Enter")
    visitor.tab_to(page.locator('button[value="listener"]'))
    page.keyboard.press("Enter")
    page.wait_for_url(f"{stack.url}/dashboard/")

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    visitor.tab_to(page.get_by_role("button", name="Log out"))
    page.keyboard.press("Enter")

    expect(page.get_by_role("button", name="Log in with Spotify")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_and_follow_the_colour_scheme(
    stack: Stack, visitor: Visitor, scheme: Literal["light", "dark"]
) -> None:
    page = visitor.page
    page.emulate_media(color_scheme=scheme)
    backgrounds = {"light": "rgb(246, 247, 249)", "dark": "rgb(18, 21, 28)"}

    def look_at(path: str, name: str) -> None:
        page.goto(stack.url + path)
        for width in (1280, 320):
            page.set_viewport_size({"width": width, "height": 800})
            visitor.screenshot(f"{name}-{scheme}-{width}")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == backgrounds[scheme]

    look_at("/", "home")
    visitor.log_in()
    look_at("/dashboard/", "dashboard")
    look_at("/connection/", "connection")
    SpotifyToken.objects.update(reauthorize_by=Now() + timedelta(days=3))
    look_at("/dashboard/", "reconnect-soon")
    SpotifyToken.objects.update(status="reconnect_required")
    look_at("/dashboard/", "reconnect-required")
    look_at("/connection/", "connection-reconnect-required")
    page.get_by_role("button", name="Disconnect Spotify").click()
    look_at("/dashboard/", "not-connected")
    look_at("/connection/", "connection-not-connected")
    look_at("/nothing/", "not-found")
    assert "404" in visitor.complaints.pop()


def test_an_administrator_refreshes_and_revokes(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    visitor.log_in()
    token = token_of(User.objects.get())
    User.objects.create_superuser("root", password="a-long-password-1")
    page.get_by_role("button", name="Log out").click()
    page.goto(f"{stack.url}/admin/")
    page.get_by_label("Username").fill("root")
    page.get_by_label("Password").fill("a-long-password-1")
    page.get_by_role("button", name="Log in").click()
    page.goto(f"{stack.url}/admin/spotify_auth/spotifytoken/")
    seen = [page.content()]

    def choose(action: str) -> None:
        page.locator("input[name=_selected_action]").check()
        page.get_by_label("Action:").select_option(label=action)
        page.get_by_role("button", name="Go").click()

    choose("Refresh now (in the background)")
    expect(page.get_by_text("1 of 1 tokens will be refreshed")).to_be_visible()
    wait_for(lambda: token_of(token.user).generation == 2, what="the worker to refresh")
    page.get_by_role("link", name="Maya Lindqvist").click()
    expect(page.locator(".field-generation")).to_contain_text("2")
    seen.append(page.content())
    visitor.screenshot("admin-token")
    page.goto(f"{stack.url}/admin/spotify_auth/tokenevent/")
    expect(page.get_by_role("cell", name="An administrator asked")).to_be_visible()
    seen.append(page.content())
    page.goto(f"{stack.url}/admin/spotify_auth/spotifytoken/")
    choose("Revoke (erase our copy)")
    expect(page.get_by_text("Spotify has no revocation endpoint")).to_be_visible()
    visitor.screenshot("admin-revoke")
    page.get_by_role("button", name="Revoke them").click()
    expect(page.get_by_text("https://www.spotify.com/account/apps/")).to_be_visible()

    assert token_of(token.user).status == SpotifyToken.Status.REVOKED
    for secret in (token.access_token, token.refresh_token):
        assert secret
        # Not even the beginning of a token is shown.
        assert not any(secret[:12] in text for text in seen)
