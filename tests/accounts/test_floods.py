"""What one visitor or one user can cost Spotify, and with it everybody else."""

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from urllib.parse import parse_qsl, urlsplit

import pytest
import redis
import requests
from django.contrib.auth.models import AnonymousUser
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import reverse
from pytest_django import Settings

from accounts import dashboard
from accounts.models import User
from dev.process import free_port
from dev.testing import WITHOUT_LIMITS
from spotify_auth import connections, cooldown, login, shared_answers
from spotify_auth.conf import DEFAULTS
from spotify_auth.cooldown import Reason
from spotify_auth.throttles import logins, throttled
from tests.support.login import approve, begin, log_in
from tests.support.processes import service_environment
from tests.support.sandbox_client import SCOPES, Sandbox
from tests.support.tokens import Connect, grant_of
from tests.support.web_server import serving

pytestmark = pytest.mark.django_db

DASHBOARD = "/dashboard/"
DATA = "/api/dashboard-data"


LIMITS = {name: DEFAULTS[name] for name in WITHOUT_LIMITS}


@pytest.fixture(autouse=True)
def _usual_limits(settings: Settings) -> None:
    for name, value in LIMITS.items():
        setattr(settings, name, value)


@pytest.fixture
def listener(connect: Connect, client: Client) -> User:
    user = connect("listener", due=False, scope=SCOPES)
    client.force_login(user)
    return user


def calls(spotify: Sandbox) -> int:
    number: int = spotify.summary()["totals"]["web_api_calls"]
    return number


def exchanges(spotify: Sandbox) -> int:
    totals = spotify.summary()["totals"]
    number: int = totals["logins"] + totals["invalid_grants"]
    return number


# --- Dashboards ---------------------------------------------------------------------------


def test_tabs_share_the_calls_of_one_dashboard(
    client: Client, listener: User, spotify: Sandbox
) -> None:
    pages = [client.get(DASHBOARD), client.get(DASHBOARD), client.get(DATA)]

    assert [page.status_code for page in pages] == [200, 200, 200]
    first, second = (re.sub(rb'value="\w{64}"', b"", page.content) for page in pages[:2])
    assert first == second  # but for the CSRF tokens, which are masked for each page
    assert calls(spotify) == 6


def test_an_incomplete_dashboard_is_kept_for_two_seconds(
    client: Client,
    listener: User,
    spotify: Sandbox,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert dashboard.INCOMPLETE_KEPT_SECONDS == 2 < settings.DASHBOARD_KEPT_SECONDS
    # Longer here, so that a slow machine asks twice meanwhile; and shorter than a whole one.
    settings.DASHBOARD_KEPT_SECONDS = 90
    monkeypatch.setattr(dashboard, "INCOMPLETE_KEPT_SECONDS", 30)
    spotify.faults("web_api_error", status=503, path="/v1/me/playlists")
    client.get(DATA)
    client.get(DATA)
    before = calls(spotify)
    with redis.Redis.from_url(settings.REDIS_URL) as server:
        (kept,) = server.scan_iter("spotify_auth:shared:*")
        assert 0 < server.pttl(kept) <= 30_000
        server.delete(kept)  # so much time has passed
    client.get(DATA)

    assert (before, calls(spotify)) == (6, 12)


def test_a_kept_dashboard_ends_with_the_connection(
    client: Client, listener: User, spotify: Sandbox
) -> None:
    client.get(DATA)
    client.post(reverse("spotify_auth:disconnect"))

    assert client.get(DATA).json()["code"] == "not_connected"


@pytest.mark.django_db(transaction=True)  # the clock must go on between the two connections
def test_a_kept_dashboard_is_not_another_accounts(
    client: Client, listener: User, spotify: Sandbox
) -> None:
    first = client.get(DATA).json()["parts"]["profile"]
    client.post(reverse("spotify_auth:disconnect"))
    User.objects.filter(pk=listener.pk).update(account_id=None, username="of two accounts")
    answer = spotify.connect(["commuter"], scope=SCOPES)["commuter"]
    connections.connect(
        user_id=listener.pk,
        account_id=answer["account_id"],
        grant=grant_of(answer),
        issued_at=connections.database_now(),
    )

    second = client.get(DATA).json()["parts"]["profile"]

    assert (first["state"], second["state"]) == ("ok", "ok")
    assert first != second


def test_nothing_is_kept_when_the_setting_says_so(
    client: Client, listener: User, spotify: Sandbox, settings: Settings
) -> None:
    settings.DASHBOARD_KEPT_SECONDS = 0

    client.get(DATA)
    client.get(DATA)

    assert calls(spotify) == 12


def test_too_many_dashboards_are_answered_with_429(
    client: Client, listener: User, settings: Settings
) -> None:
    settings.RATE_LIMIT_DASHBOARDS = 2
    client.get(DASHBOARD)
    client.get(DATA)

    page = client.get(DASHBOARD, headers={"Accept": "text/html"})
    data = client.get(DATA, headers={"Accept": "text/html"})

    assert (page.status_code, data.status_code) == (429, 429)
    assert 1 <= int(page["Retry-After"]) <= 30
    assert "Slow down a little" in page.content.decode()
    assert page["Cache-Control"].count("no-store") == 1
    assert data.json()["code"] == "too_many_requests"
    assert 1 <= int(data["Retry-After"]) <= int(page["Retry-After"])  # time goes on between them


def test_another_user_is_not_limited(
    client: Client, listener: User, connect: Connect, settings: Settings
) -> None:
    settings.RATE_LIMIT_DASHBOARDS = 1
    client.get(DATA)
    assert client.get(DATA).status_code == 429

    client.force_login(connect("commuter", due=False, scope=SCOPES))

    assert client.get(DATA).status_code == 200


def test_an_address_is_limited_whoever_is_logged_in(
    client: Client, listener: User, connect: Connect, settings: Settings
) -> None:
    settings.RATE_LIMIT_ADDRESS = 1
    client.get(DATA)
    client.force_login(connect("commuter", due=False, scope=SCOPES))

    assert client.get(DATA).status_code == 429
    assert client.get(DATA, REMOTE_ADDR="192.0.2.9").status_code == 200


def test_tokens_for_a_player_are_limited(
    client: Client, connect: Connect, settings: Settings
) -> None:
    settings.RATE_LIMIT_TOKENS = 1
    client.force_login(connect("listener", due=False, scope="streaming"))
    ask = {"Origin": "http://127.0.0.1"}

    statuses = [client.post("/api/spotify/token", headers=ask).status_code for _ in range(2)]

    assert statuses == [200, 429]


def test_the_budget_of_all_pages_is_kept(
    client: Client, listener: User, connect: Connect, spotify: Sandbox, settings: Settings
) -> None:
    settings.RATE_LIMIT_WEB_API_CALLS = 8
    assert client.get(DATA).json()["parts"]["profile"]["state"] == "ok"
    client.force_login(connect("commuter", due=False, scope=SCOPES))

    part = client.get(DATA).json()["parts"]["profile"]

    assert (part["code"], calls(spotify)) == ("rate_limited", 6)
    assert 1 <= part["retry_after"] <= 31


def test_everything_works_without_redis(
    client: Client,
    listener: User,
    spotify: Sandbox,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared_answers, "_flights", {})
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    settings.RATE_LIMIT_DASHBOARDS = settings.RATE_LIMIT_LOGINS = 1

    assert [client.get(DATA).status_code for _ in range(3)] == [200, 200, 200]
    for _ in range(2):
        assert log_in(Client(), spotify, "commuter").status_code == 302


# --- Logins -------------------------------------------------------------------------------


def test_logins_of_one_address_are_limited(
    client: Client, spotify: Sandbox, settings: Settings
) -> None:
    settings.RATE_LIMIT_LOGINS = 2
    begin(client)
    begin(client)

    page = client.post(reverse("accounts:login"), headers={"Accept": "text/html"})

    assert page.status_code == 429
    assert "Try again</a>" not in page.content.decode()  # a form is not sent again by a link
    assert login.cookie_name() not in page.cookies
    begin(Client(REMOTE_ADDR="192.0.2.9"))


def test_a_view_that_calls_another_one_is_counted_once(
    client: Client, spotify: Sandbox, settings: Settings, rf: RequestFactory
) -> None:
    settings.RATE_LIMIT_LOGINS = 2

    def answer() -> int:
        request = rf.get("/")
        request.user = AnonymousUser()
        return throttled(logins)(throttled(logins)(lambda request: HttpResponse()))(
            request
        ).status_code

    assert [answer() for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", 429),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", 302),
    ],
)
def test_a_network_of_ipv6_is_one_address(
    spotify: Sandbox, settings: Settings, first: str, second: str, status: int
) -> None:
    settings.RATE_LIMIT_LOGINS = 1
    begin(Client(REMOTE_ADDR=first))

    assert Client(REMOTE_ADDR=second).post(reverse("accounts:login")).status_code == status


def test_a_block_of_ipv6_has_four_times_the_limit(spotify: Sandbox, settings: Settings) -> None:
    """One customer may have 65,536 networks of /64."""
    settings.RATE_LIMIT_LOGINS = 1
    networks = [Client(REMOTE_ADDR=f"2001:db8:0:{number:x}::1") for number in range(5)]

    answers = [network.post(reverse("accounts:login")).status_code for network in networks]

    assert answers == [302, 302, 302, 302, 429]
    begin(Client(REMOTE_ADDR="2001:db8:1::1"))


def test_a_limited_callback_uses_nothing_up(
    client: Client, spotify: Sandbox, settings: Settings
) -> None:
    settings.RATE_LIMIT_LOGINS = 1
    back = approve(spotify, begin(client))
    client.get(reverse("accounts:callback"))

    limited = client.get(back)
    settings.RATE_LIMIT_LOGINS = 0

    assert limited.status_code == 429
    assert client.get(back).status_code == 302


def test_a_callback_without_an_attempt_never_reaches_the_token_endpoint(
    client: Client, spotify: Sandbox
) -> None:
    parameters = begin(client)
    address = reverse("accounts:callback")

    for query in (
        {"code": "made-up"},
        {"code": "made-up", "state": "made-up"},
        {"code": "made-up", "state": ""},
    ):
        assert client.get(address, query).status_code == 400
    stranger = Client().get(address, {"code": "made-up", "state": parameters["state"]})

    assert stranger.status_code == 400
    assert exchanges(spotify) == 0


def test_a_callback_without_an_attempt_uses_up_nobodys_turn(
    client: Client, spotify: Sandbox, settings: Settings
) -> None:
    settings.RATE_LIMIT_CODE_EXCHANGES = 1
    back = approve(spotify, begin(client))
    for _ in range(3):
        Client().get(reverse("accounts:callback"), {"code": "made-up", "state": "made-up"})

    assert client.get(back).status_code == 302


def test_a_login_waits_for_the_end_of_a_pause_and_is_not_lost(
    client: Client, spotify: Sandbox, settings: Settings
) -> None:
    back = approve(spotify, begin(client))
    cooldown.start(Reason.RATE_LIMITED, seconds=90)

    waiting = client.get(back)
    asked = exchanges(spotify)
    with redis.Redis.from_url(settings.REDIS_URL) as connection:
        connection.delete(*cooldown.KEYS)
    completed = client.get(back)

    assert (waiting.status_code, asked) == (503, 0)
    assert 60 <= int(waiting["Retry-After"]) <= 91
    assert "Your login is not lost" in waiting.content.decode()
    assert 'href="">Reload this page</a>' in waiting.content.decode()
    assert (completed.status_code, exchanges(spotify)) == (302, 1)


def test_codes_of_all_addresses_have_a_share_of_their_own(
    client: Client, spotify: Sandbox, settings: Settings
) -> None:
    settings.RATE_LIMIT_CODE_EXCHANGES = 2
    settings.RATE_LIMIT_LOGINS = 0
    statuses = []
    for _ in range(5):
        browser = Client()
        state = begin(browser)["state"]
        answer = browser.get(reverse("accounts:callback"), {"code": "made-up", "state": state})
        statuses.append(answer.status_code)

    assert statuses == [400, 400, 503, 503, 503]
    assert exchanges(spotify) == 2


# --- Real HTTP ----------------------------------------------------------------------------


@pytest.fixture
def site(transactional_db: None, spotify: Sandbox, settings: Settings) -> Iterator[str]:
    """The web server of the Procfile with two processes, on the test database."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    env = service_environment(
        spotify_url=spotify.url,
        redis_url=settings.REDIS_URL,
        HOST="127.0.0.1",
        PORT=str(port),
        SPOTIFY_REDIRECT_URI=f"{url}/spotify/callback/",
        WEB_CONCURRENCY="2",
        WEB_THREADS="8",
        **{name: str(value) for name, value in LIMITS.items()},
    )
    with serving(env=env, port=port):
        yield url


def flood(seconds: float, threads: int, ask: Callable[[requests.Session], int]) -> Counter[int]:
    """Ask from so many threads for so long; how often each status was answered."""
    statuses: Counter[int] = Counter()
    end = time.monotonic() + seconds

    def run() -> None:
        with requests.Session() as session:
            session.trust_env = False
            while time.monotonic() < end:
                statuses[ask(session)] += 1

    started = [threading.Thread(target=run) for _ in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return statuses


@pytest.mark.slow
def test_ten_seconds_of_one_users_flood_cost_few_calls(
    site: str, connect: Connect, client: Client, spotify: Sandbox
) -> None:
    client.force_login(connect("listener", due=False, scope=SCOPES))
    cookie = {"sessionid": client.cookies["sessionid"].value}

    statuses = flood(
        10, 8, lambda session: session.get(f"{site}{DATA}", cookies=cookie, timeout=20).status_code
    )

    assert statuses[200] >= 30
    assert statuses[429] > 100
    assert set(statuses) == {200, 429}
    assert 6 <= calls(spotify) < 100


@pytest.mark.slow
def test_made_up_codes_cost_few_exchanges(site: str, spotify: Sandbox) -> None:
    def attempt(session: requests.Session) -> int:
        session.cookies.set("csrftoken", "c" * 32)
        begun = session.post(
            f"{site}/spotify/login/",
            data={"csrfmiddlewaretoken": "c" * 32},
            allow_redirects=False,
            timeout=20,
        )
        if begun.status_code != 302:
            return begun.status_code
        query = dict(parse_qsl(urlsplit(begun.headers["Location"]).query))
        return session.get(
            f"{site}/spotify/callback/",
            params={"code": "made-up", "state": query["state"]},
            timeout=20,
        ).status_code

    statuses = flood(5, 8, attempt)

    assert statuses[429] > 50
    assert 1 <= exchanges(spotify) <= 11
