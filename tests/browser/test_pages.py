"""Pages that somebody may meet: refused, broken, empty, hostile; keyboard; the admin."""

import json
import re
from typing import Literal

import pytest
from playwright.sync_api import Browser, Request, expect

from accounts.models import User
from spotify_auth.models import Cause, Outcome, SpotifyToken
from tests.support.browser import Stack, Visitor
from tests.support.processes import wait_for
from tests.support.tokens import token_of

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

    expect(page.get_by_role("heading", name="This login is no longer valid")).to_be_visible()
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

    expect(page.get_by_role("heading", name="This login is no longer valid")).to_be_visible()
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
def test_odd_data_renders_harmlessly(stack: Stack, visitor: Visitor, persona: str) -> None:
    page = visitor.page
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))

    visitor.log_in(persona)

    expect(page.get_by_role("heading", name="Your playlists")).to_be_visible()
    visitor.look(f"dashboard-{persona}")
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


def test_the_skip_link_leads_past_the_navigation(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    visitor.log_in()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Open your profile on Spotify")).to_be_focused()


@pytest.mark.parametrize(
    ("scheme", "background"), [("light", "rgb(246, 247, 249)"), ("dark", "rgb(18, 21, 28)")]
)
def test_pages_follow_the_colour_scheme(
    stack: Stack, visitor: Visitor, scheme: Literal["light", "dark"], background: str
) -> None:
    page = visitor.page
    page.emulate_media(color_scheme=scheme)
    page.goto(stack.url)

    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == background


def test_a_page_that_is_none(stack: Stack, visitor: Visitor) -> None:
    visitor.page.goto(f"{stack.url}/nothing/")

    visitor.look("not-found")
    assert "404" in visitor.complaints.pop()


@pytest.mark.parametrize("path", ["/", "/dashboard/", "/connection/"])
def test_a_page_weighs_under_60_kilobytes(stack: Stack, visitor: Visitor, path: str) -> None:
    """As it is transferred by gunicorn: page, styles and script, without pictures."""
    page = visitor.page
    visitor.log_in()
    asked: list[Request] = []
    visitor.context.new_cdp_session(page).send("Network.clearBrowserCache")
    page.on("request", lambda request: asked.append(request))
    page.goto(stack.url + path)

    parts = [r for r in asked if r.resource_type in {"document", "stylesheet", "script"}]
    weights = [request.sizes()["responseBodySize"] for request in parts]
    assert len(weights) == 3
    assert min(weights) > 1000
    assert sum(weights) < 60_000


def test_guessing_at_the_admin_ends_at_a_page_that_says_how_long(
    stack: Stack, visitor: Visitor
) -> None:
    page = visitor.page
    for n in range(6):
        page.goto(f"{stack.url}/admin/")
        page.get_by_label("Username").fill("root")
        page.get_by_label("Password").fill(f"a wrong password {n}")
        page.get_by_role("button", name="Log in").click()

    expect(page.get_by_role("heading", name="Too many passwords were tried")).to_be_visible()
    visitor.look("admin-locked-out")
    assert len(visitor.complaints) == 1
    assert "429" in visitor.complaints.pop()


def test_an_administrator_who_came_by_spotify_is_asked_for_a_password(
    stack: Stack, visitor: Visitor
) -> None:
    visitor.log_in()
    User.objects.update(username="maya", is_staff=True)

    visitor.page.goto(f"{stack.url}/admin/")

    expect(visitor.page.get_by_text("asks for your password every 12 hours")).to_be_visible()
    visitor.picture("admin-asked-again")
    visitor.page.goto(f"{stack.url}/dashboard/")
    expect(visitor.page.get_by_role("heading", name="Maya Lindqvist")).to_be_visible()


def test_an_administrator_refreshes_and_revokes(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    visitor.log_in()
    token = token_of(User.objects.get())
    User.objects.create_superuser("root", password="a-long-password-1")
    page.get_by_role("button", name="Log out").click()
    page.goto(f"{stack.url}/admin/")
    visitor.picture("admin-login")
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
    visitor.picture("admin-refresh")
    seen.append(page.content())
    # The cursor stands in the field: no mouse is needed.
    page.keyboard.type("ticket 17")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Refresh now, 1 token: Asked for")).to_be_visible()
    asked_for = token.user.spotify_auth_events.filter(cause=Cause.ADMIN, outcome=Outcome.REFRESHED)
    wait_for(asked_for.exists, what="the worker to refresh")
    page.get_by_role("link", name="Maya Lindqvist").click()
    # On a slow machine the schedule has refreshed it as well.
    expect(page.locator(".field-generation")).to_contain_text(re.compile("[2-9]"))
    seen.append(page.content())
    visitor.screenshot("admin-token")
    page.goto(f"{stack.url}/admin/spotify_auth/tokenevent/")
    expect(page.get_by_role("cell", name="An administrator asked")).to_have_count(2)
    expect(page.get_by_role("cell", name="Refresh requested")).to_be_visible()
    expect(page.get_by_role("cell", name="ticket 17")).to_be_visible()
    seen.append(page.content())
    page.goto(f"{stack.url}/admin/spotify_auth/spotifytoken/")
    choose("Revoke (erase our copy)")
    expect(page.get_by_text("Spotify has no revocation endpoint")).to_be_visible()
    visitor.picture("admin-revoke")
    page.get_by_role("button", name="Revoke", exact=True).click()
    expect(page.get_by_text("Spotify has no revocation endpoint")).to_be_visible()
    assert token_of(token.user).status == SpotifyToken.Status.ACTIVE
    page.get_by_label("Reason").fill("ticket 18")
    page.get_by_role("button", name="Revoke", exact=True).click()
    expect(page.get_by_text("but not the app at Spotify")).to_be_visible()

    assert token_of(token.user).status == SpotifyToken.Status.REVOKED
    for secret in (token.access_token, token.refresh_token):
        assert secret
        # Not even the beginning of a token is shown.
        assert not any(secret[:12] in text for text in seen)


def test_a_user_sees_where_they_are_logged_in_and_logs_out_there(
    stack: Stack, visitor: Visitor, chromium: Browser
) -> None:
    page = visitor.page
    visitor.log_in()
    phone = chromium.new_context(
        user_agent="Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) Safari/604.1"
    )
    other = Visitor(page=phone.new_page(), context=phone, url=stack.url)
    other.log_in()

    page.goto(f"{stack.url}/connection/")
    page.get_by_role("link", name="Show my sessions").click()
    expect(page.get_by_role("heading", name="Where you are logged in")).to_be_visible()
    expect(page.get_by_text("This browser")).to_be_visible()
    expect(page.get_by_text("Safari on iPhone")).to_be_visible()
    visitor.look("sessions")

    visitor.tab_to(page.get_by_role("button", name="Log out of Safari on iPhone"))
    page.keyboard.press("Enter")
    expect(page.get_by_text("That browser is logged out.")).to_be_visible()
    expect(page.get_by_text("Safari on iPhone")).to_have_count(0)
    other.page.reload()
    expect(other.page.get_by_role("button", name="Log in with Spotify")).to_be_visible()

    # Spotify knows this browser by now, and sends it straight back.
    other.page.get_by_role("button", name="Log in with Spotify").click()
    other.page.wait_for_url(f"{stack.url}/dashboard/")
    page.get_by_role("button", name="Log out everywhere").click()
    expect(page.get_by_role("button", name="Log in with Spotify")).to_be_visible()
    other.page.reload()
    expect(other.page.get_by_role("button", name="Log in with Spotify")).to_be_visible()
    phone.close()


def test_a_user_downloads_their_data(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    visitor.log_in()
    page.goto(f"{stack.url}/connection/")

    with page.expect_download() as started:
        page.get_by_role("link", name="Download my data").click()

    found = json.loads(started.value.path().read_text())
    assert started.value.suggested_filename == "spotify-token-keeper.json"
    assert found["user"]["display_name"] == "Maya Lindqvist"
