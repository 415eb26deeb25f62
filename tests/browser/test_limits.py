"""What a user sees of a limit, and of a login that must wait."""

import pytest
import redis
from django.conf import settings
from playwright.sync_api import expect

from spotify_auth import cooldown
from tests.support.browser import Stack, Visitor

pytestmark = pytest.mark.browser


def test_too_many_requests_lead_to_a_page_with_words(stack: Stack, visitor: Visitor) -> None:
    address = f"{stack.url}/spotify/callback/"
    for _ in range(settings.RATE_LIMIT_LOGINS):
        visitor.context.request.get(address)

    visitor.page.goto(address)

    expect(visitor.page.get_by_role("heading", name="Slow down a little")).to_be_visible()
    expect(visitor.page.get_by_text("Please try again in")).to_be_visible()
    visitor.look("too-many-requests")
    visitor.tab_to(visitor.page.get_by_role("link", name="Try again"))
    assert "429" in visitor.complaints.pop()


def test_a_login_that_must_wait_goes_on_where_it_was(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    cooldown.start(cooldown.Reason.RATE_LIMITED, seconds=120)
    page.goto(stack.url)
    page.get_by_role("button", name="Log in with Spotify").click()
    page.locator('button[value="listener"]').click()

    expect(page.get_by_role("heading", name="Please wait a moment")).to_be_visible()
    visitor.look("login-paused")
    assert "503" in visitor.complaints.pop()
    with redis.Redis.from_url(settings.REDIS_URL) as connection:
        connection.delete(*cooldown.KEYS)
    page.get_by_role("link", name="Reload this page").click()

    expect(page.get_by_role("heading", name="Maya Lindqvist")).to_be_visible()
