"""The operations page in a real browser: live, honest when nothing comes, and used by keyboard."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission
from django.db.models.functions import Now
from django.test import Client
from playwright.sync_api import expect

from accounts.models import User
from spotify_auth import service_pause
from spotify_auth.models import SpotifyToken
from tests.support.admin import enter_admin
from tests.support.browser import Stack, Visitor
from tests.support.tokens import connect_users

pytestmark = pytest.mark.browser

OPERATOR = ("view_spotifytoken", "view_tokenevent", "operate_service")


def operate(visitor: Visitor, *permissions: str) -> None:
    """See the page as somebody of the staff who has these permissions."""
    user = User.objects.create(username="ana", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client, name = Client(), settings.SESSION_COOKIE_NAME
    enter_admin(client, user)
    visitor.context.add_cookies(
        [{"name": name, "value": client.cookies[name].value, "url": visitor.url}]
    )
    visitor.page.goto(f"{visitor.url}/admin/")
    visitor.page.get_by_role("main").get_by_role("link", name="Operations").click()


HIDE = "Object.defineProperty(document, 'hidden', {value: true, configurable: true})"
SHOW = "delete document.hidden"


def look(visitor: Visitor, name: str) -> None:
    """Look at the page while it asks for nothing: htmx would keep the styles that axe sets."""
    visitor.page.evaluate(HIDE)
    visitor.wait_for_what_was_asked()
    visitor.look(name)
    visitor.page.evaluate(SHOW)


def lose_access(user: User) -> None:
    """Let a token be stale, and back off for long: the worker leaves it alone."""
    SpotifyToken.objects.filter(pk=user.pk).update(
        expires_at=Now() - timedelta(seconds=20),
        due_at=Now() + timedelta(hours=1),
        failures=3,
        last_error="http_503",
    )


def test_the_page_follows_what_happens_and_disturbs_nobody(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    user, *_ = connect_users(stack.sandbox, count=3)
    operate(visitor, *OPERATOR)
    verdict = page.get_by_role("status")
    expect(verdict).to_contain_text("All 3 connected users have fresh tokens.")
    page.evaluate("window.notReloaded = true")
    table = page.locator("#table-minute")
    table.get_by_text("As a table").click()
    link = page.locator("#list-fresh")
    link.focus()

    lose_access(user)

    expect(verdict).to_contain_text("1 user has no fresh token, since", timeout=30_000)
    expect(verdict).to_contain_text("mostly with http_503")
    expect(page.locator("#figure-fresh")).to_contain_text("66.67 %")
    expect(page.get_by_role("row", name="Worker")).to_contain_text("of 8")
    expect(table.get_by_role("table")).to_be_visible()
    expect(link).to_be_focused()
    look(visitor, "operations-lost")
    # Nobody looks: nothing is asked. Nothing comes: the page says so.
    page.evaluate(HIDE)
    visitor.wait_for_what_was_asked()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate("htmx.trigger('#figures', 'shown')")
    assert asked == []
    page.evaluate(SHOW)
    assert visitor.complaints == []
    visitor.context.set_offline(True)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    lost = page.get_by_role("alert")
    expect(lost).to_contain_text("The server cannot be reached since", timeout=30_000)
    expect(lost).to_contain_text("What you see is as of")
    visitor.context.set_offline(False)
    page.evaluate("htmx.trigger('#figures', 'shown')")
    expect(lost).to_be_hidden(timeout=30_000)
    assert page.evaluate("window.notReloaded")
    visitor.complaints.clear()  # Chromium and htmx tell of the network that was taken away


def test_pauses_and_resumes_by_keyboard_alone(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    connect_users(stack.sandbox, count=1)
    operate(visitor, *OPERATOR)

    visitor.tab_to(page.get_by_role("link", name="Skip to the buttons"))
    page.keyboard.press("Enter")
    visitor.tab_to(page.get_by_role("button", name="Pause all refreshing"))
    page.keyboard.press("Enter")
    expect(page.get_by_label("Reason")).to_be_focused()
    page.keyboard.type("ticket 17")
    page.keyboard.press("Enter")

    paused = "ana paused all refreshing at"
    expect(page.get_by_role("status")).to_contain_text(paused, timeout=30_000)
    assert service_pause.current()
    look(visitor, "operations-paused")
    page.get_by_role("button", name="Resume refreshing").click()
    page.get_by_label("Reason").fill("over")
    page.get_by_role("button", name="Resume refreshing").click()
    fresh = "The one connected user has a fresh token."
    expect(page.get_by_role("status")).to_contain_text(fresh, timeout=30_000)
    assert service_pause.current() is None
