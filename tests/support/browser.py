"""A visitor in a real browser, and the service in front of them."""

import os
from dataclasses import dataclass, field
from typing import Literal

from axe_playwright_python.base import AXE_SCRIPT
from django.conf import settings
from django.test import Client
from playwright.sync_api import BrowserContext, Locator, Page, expect

from accounts.models import User
from dev.process import ROOT
from tests.support.admin import enter_admin
from tests.support.processes import LocalProcess
from tests.support.sandbox_client import Sandbox

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
SCREENSHOTS = ROOT / ".local" / "screenshots"
MOVED = """Promise.allSettled(document.getAnimations()
  .filter(each => each.effect.getComputedTiming().endTime !== Infinity)
  .map(each => each.finished))"""
"""Until every transition is over: halfway, the colours are those of no scheme."""

PICTURES = bool(os.environ.get("PICTURES"))
"""Whether the tests keep pictures of what they see. They compare none."""


@dataclass
class Stack:
    """The running service, as a visitor finds it at `url`."""

    url: str
    sandbox: Sandbox
    worker: LocalProcess


@dataclass
class Visitor:
    """One browser with its pages, and everything its console complained about."""

    page: Page
    context: BrowserContext
    url: str
    complaints: list[str] = field(default_factory=list)

    def log_in(self, persona: str = "listener") -> None:
        """From the home page through Spotify to the dashboard."""
        self.page.goto(self.url)
        self.page.get_by_role("button", name="Log in with Spotify").click()
        self.page.locator(f'button[value="{persona}"]').click()
        self.page.wait_for_url(f"{self.url}/dashboard/")

    def be(self, user: User) -> None:
        """Be logged in as this user from now on."""
        client = Client()
        client.force_login(user)
        self._take_session(client)

    def be_administrator(self, user: User) -> None:
        """Be logged in to the admin as this user from now on."""
        client = Client()
        enter_admin(client, user)
        self._take_session(client)

    def wait_for_what_was_asked(self) -> None:
        """Until all that htmx has asked for has been put into the page."""
        asked = self.page.locator(".htmx-request, .htmx-swapping, .htmx-settling")
        expect(asked).to_have_count(0)

    def _take_session(self, client: Client) -> None:
        name = settings.SESSION_COOKIE_NAME
        self.context.clear_cookies(name=name)
        self.context.add_cookies(
            [{"name": name, "value": client.cookies[name].value, "url": self.url}]
        )

    def tab_to(self, target: Locator) -> None:
        """Walk to an element with the Tab key alone."""
        for _ in range(30):
            self.page.keyboard.press("Tab")
            if target.evaluate("element => element === document.activeElement"):
                return
        raise AssertionError(f"the Tab key does not reach {target}")

    def look(self, name: str) -> None:
        """See the page as it is, light and dark, wide and narrow: it fits, and has no barriers."""
        for scheme in SCHEMES:
            self.page.emulate_media(color_scheme=scheme)
            for width in (320, 1200):
                self.page.set_viewport_size({"width": width, "height": 800})
                self.screenshot(f"{name}-{scheme}-{width}")
                assert self.page.evaluate("document.documentElement.scrollWidth") <= width
            # The whole search takes a second: it is made wide in light, and narrow in dark.
            if scheme == "dark":
                self.page.set_viewport_size({"width": 320, "height": 800})
            self.page.evaluate(MOVED)
            assert not (barriers := self.barriers()), f"{name}, {scheme}: {barriers}"

    def picture(self, name: str) -> None:
        """See a page of the admin, light and dark, wide and narrow: it fits.

        Without the search for barriers: those in Django's frame are not ours.
        """
        for scheme in SCHEMES:
            self.page.emulate_media(color_scheme=scheme)
            for width in (390, 1280):
                self.page.set_viewport_size({"width": width, "height": 800})
                self.screenshot(f"{name}-{scheme}-{width}")
                assert self.page.evaluate("document.documentElement.scrollWidth") <= width

    def barriers(self) -> list[str]:
        """What axe-core finds wrong with the page, a line each."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE_SCRIPT)
        found = self.page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
        return [
            f"{rule['id']}: {node['html'][:200]} ({node['failureSummary']})"
            for rule in found
            for node in rule["nodes"]
        ]

    def screenshot(self, name: str) -> None:
        """Keep a picture for people to look at, if they want any: one takes 0.13 s of CPU."""
        if PICTURES:
            SCREENSHOTS.mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
