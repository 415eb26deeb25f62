"""What a user sees of a limit, and of a login that must wait."""

from collections.abc import Iterator

import pytest
import redis
from django.conf import settings
from playwright.sync_api import expect

from dev.process import free_port
from spotify_auth import cooldown
from tests.support.browser import Stack, Visitor
from tests.support.processes import service_environment
from tests.support.web_server import serving

pytestmark = pytest.mark.browser


@pytest.fixture
def limited(stack: Stack) -> Iterator[str]:
    """The address of a web server like the stack's, with a limit."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    env = service_environment(
        spotify_url=stack.sandbox.url,
        redis_url=settings.REDIS_URL,
        HOST="127.0.0.1",
        PORT=str(port),
        SPOTIFY_REDIRECT_URI=f"{url}/spotify/callback/",
        RATE_LIMIT_LOGINS="2",
    )
    with serving(env=env, port=port):
        yield url


def test_too_many_requests_lead_to_a_page_with_words(limited: str, visitor: Visitor) -> None:
    address = f"{limited}/spotify/callback/"
    for _ in range(2):
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
