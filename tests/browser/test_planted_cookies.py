"""A cookie that another host plants, in a real browser, on a site with https.

The attacker begins a login, approves it as themselves, and keeps the address of the way back,
unspent. A sibling host, or somebody on the network who answers for one by plain http, plants
the cookie that goes with it, and then sends the victim to that address.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from http.cookies import SimpleCookie
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from django.conf import settings
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, expect

from accounts.models import User
from dev.process import free_port
from spotify_auth.models import SpotifyToken
from tests.support.hosts import SIBLING, SITE, TlsProxy, page_of_another_host
from tests.support.processes import service_environment, web_process
from tests.support.sandbox_client import Sandbox

pytestmark = pytest.mark.browser

SESSION = "__Host-sessionid"


@dataclass
class Site:
    """The site as browsers find it at `url`, and as the proxy finds it at `backend`."""

    url: str
    backend: int
    sandbox: Sandbox


@pytest.fixture(scope="module")
def server(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The web server behind a proxy with TLS."""
    proxy = TlsProxy(tmp_path_factory.mktemp("tls"))
    proxy.backend = free_port()
    with proxy.listening() as port:
        url = f"https://{SITE}:{port}"
        redirect_uri = f"{url}/spotify/callback/"
        with Sandbox(options=["--redirect-uri", redirect_uri]) as sandbox:
            env = service_environment(
                spotify_url=sandbox.url,
                redis_url=settings.REDIS_URL,
                HOST="127.0.0.1",
                PORT=str(proxy.backend),
                ALLOWED_HOSTS=SITE,
                TRUST_X_FORWARDED_PROTO="true",
                SPOTIFY_REDIRECT_URI=redirect_uri,
                WEB_CONCURRENCY="1",
            )
            web = web_process("web", env=env)
            try:
                web.ready()
                yield Site(url=url, backend=proxy.backend, sandbox=sandbox)
            finally:
                web.teardown()


@pytest.fixture
def site(server: Site, transactional_db: None, no_cooldown: None) -> Site:
    server.sandbox.reset()
    return server


@pytest.fixture
def victim(chromium: Browser, site: Site) -> Iterator[Page]:
    context = chromium.new_context(ignore_https_errors=True)
    yield context.new_page()
    context.close()


@dataclass
class Attack:
    """An address of the way back, with its unspent code, and the cookies that go with it."""

    address: str
    cookies: dict[str, str]

    def lines(self) -> tuple[str, ...]:
        """What a sibling host sends to plant them, under every name that might count."""
        names = {**self.cookies}
        names |= {name.removeprefix("__Host-"): value for name, value in self.cookies.items()}
        return tuple(f"{name}={value}; Domain={SITE}; Path=/" for name, value in names.items())


@pytest.fixture(params=["log in", "switch account"])
def attack(request: pytest.FixtureRequest, site: Site) -> Attack:
    """On the attacker's own machine."""
    form = {"switch": "yes"} if request.param == "switch account" else {}
    csrf = "c" * 32
    sent = requests.post(
        f"http://127.0.0.1:{site.backend}/spotify/login/",
        data=form,
        headers={
            "Host": urlsplit(site.url).netloc,
            "Origin": site.url,
            "X-Forwarded-Proto": "https",
            "X-CSRFToken": csrf,
            "Cookie": f"__Host-csrftoken={csrf}; csrftoken={csrf}",
        },
        allow_redirects=False,
        timeout=20,
    )
    assert sent.status_code == 302, sent.text
    parameters = dict(parse_qsl(urlsplit(sent.headers["Location"]).query))
    set_cookies = SimpleCookie("; ".join(sent.raw.headers.getlist("Set-Cookie")))
    cookies = {name: morsel.value for name, morsel in set_cookies.items() if "csrf" not in name}
    assert cookies
    return Attack(address=site.sandbox.authorize(parameters, "user-6"), cookies=cookies)


def plant(victim: Page, attack: Attack) -> None:
    """The victim meets a page of the sibling host, by plain http."""
    with page_of_another_host("<h1>attacker on plain http</h1>", cookies=attack.lines()) as port:
        victim.goto(f"http://{SIBLING}:{port}/")
        expect(victim.get_by_role("heading", name="attacker on plain http")).to_be_visible()


def be(context: BrowserContext, site: Site, user: User) -> None:
    """Be logged in as this user."""
    client = Client()
    client.force_login(user)
    key = client.cookies[settings.SESSION_COOKIE_NAME].value
    context.add_cookies([{"name": SESSION, "value": key, "url": site.url, "secure": True}])


def test_a_whole_login_works(victim: Page, site: Site) -> None:
    victim.goto(site.url)
    victim.get_by_role("button", name="Log in with Spotify").click()
    victim.locator('button[value="listener"]').click()
    expect(victim.get_by_role("heading", name="Maya Lindqvist")).to_be_visible()

    names = {cookie["name"] for cookie in victim.context.cookies(site.url)}
    assert {SESSION, "__Host-csrftoken"} <= names
    assert not {name for name in names if "login" in name}
    victim.get_by_role("button", name="Log out").click()
    expect(victim.get_by_role("button", name="Log in with Spotify")).to_be_visible()
    left = {cookie["name"] for cookie in victim.context.cookies(site.url)}
    assert not {name for name in left if "session" in name}


def test_a_planted_cookie_logs_nobody_in(victim: Page, site: Site, attack: Attack) -> None:
    plant(victim, attack)

    victim.goto(attack.address)

    expect(victim.get_by_role("heading", name="This login is no longer valid")).to_be_visible()
    assert victim.get_by_role("button", name="Log out").count() == 0
    assert not User.objects.exists()
    assert site.sandbox.stats()["totals"]["logins"] == 0


@pytest.mark.parametrize("planted", ["by the sibling", "by whatever means"])
def test_a_planted_cookie_links_nothing_to_an_administrator(
    victim: Page, site: Site, attack: Attack, planted: str
) -> None:
    root = User.objects.create_superuser("root", password="a-long-password-1")
    be(victim.context, site, root)
    plant(victim, attack)
    heading = "This login is no longer valid"
    if planted == "by whatever means":  # a browser with a hole
        heading = "You are logged in already"
        victim.context.add_cookies(
            [
                {"name": name, "value": value, "url": site.url, "secure": True}
                for name, value in attack.cookies.items()
            ]
        )

    victim.goto(attack.address)

    expect(victim.get_by_role("heading", name=heading)).to_be_visible()
    expect(victim.locator("header .name")).to_have_text("root")
    assert User.objects.get() == root
    root.refresh_from_db()
    assert root.account_id is None
    assert not SpotifyToken.objects.exists()
    assert site.sandbox.stats()["totals"]["logins"] == 0


def test_a_planted_session_is_not_taken(victim: Page, site: Site) -> None:
    """Neither on somebody who is logged in, nor on somebody who is not."""
    attacker = User.objects.create(username="mallory")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "SESSION_COOKIE_NAME", SESSION)
        client = Client()
        client.force_login(attacker)
    key = client.cookies[SESSION].value
    plant(victim, Attack(address="", cookies={SESSION: key, "sessionid": key}))

    victim.goto(f"{site.url}/connection/")
    expect(victim.get_by_role("button", name="Log in with Spotify")).to_be_visible()
    be(victim.context, site, User.objects.create(username="ada"))
    victim.goto(f"{site.url}/connection/")
    expect(victim.locator("header .name")).to_have_text("ada")


def test_a_session_of_the_previous_version_goes_on(victim: Page, site: Site) -> None:
    client = Client()
    client.force_login(User.objects.create(username="ada"))
    key = client.cookies["sessionid"].value
    victim.context.add_cookies(
        [{"name": "sessionid", "value": key, "url": site.url, "secure": True}]
    )

    for _ in range(2):
        victim.goto(f"{site.url}/connection/")
        expect(victim.locator("header .name")).to_have_text("ada")
        victim.context.clear_cookies(name="sessionid")
