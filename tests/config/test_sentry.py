"""Sentry, with its defaults, is told no secret: real events of real failures.

What fails is a library below our code, so that its frames are in the traceback too.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import sentry_sdk
from django.conf import settings
from django.db import connection as database
from django.test import Client
from django.urls import reverse

from accounts.models import User
from accounts.sessions import SessionStore
from config.wsgi import application
from dev.process import ROOT, free_port
from spotify_auth import tasks, web_api
from spotify_auth.accounts_service import authorization, refreshing, transport
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.models import SpotifyToken
from spotify_auth.refresh import claims, saved_grants
from spotify_auth.refresh.decisions import SavedGrant
from spotify_auth.refresh.transaction import ClaimTransaction
from tests.support.login import approve, begin
from tests.support.sandbox_client import Sandbox
from tests.support.sentry import Kept, reporting
from tests.support.tokens import Connect, token_of

pytestmark = pytest.mark.django_db(transaction=True)

NETWORK = "urllib3.connectionpool.HTTPConnectionPool._make_request"
"""The innermost call of requests: below it all is bytes."""
EXCHANGE = "spotify_auth.accounts_service.transport._Incoming"
"""Made with the form in hand; below it is libcurl."""


class Unexpected(Exception):
    """What no rule knows."""


def fail(*args: object, **kwargs: object) -> Any:
    raise Unexpected("below our code")


class Quietly:
    """A call that shows no argument: the tests' own frames are in the tracebacks too."""

    def __init__(self, function: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        self._call = partial(function, *args, **kwargs)

    def __call__(self) -> object:
        return self._call()


def report(call: Quietly) -> None:
    """Make a call, and report what it raises, as the integrations do."""
    try:
        call()
    except Exception:
        sentry_sdk.capture_exception()
    else:
        pytest.fail("nothing was raised")


def raised_by(call: Quietly) -> BaseException:
    """What a call raises; it is reported once the patches are undone, which Sentry needs too."""
    try:
        call()
    except Unexpected as error:
        return error
    pytest.fail("nothing was raised")


@pytest.fixture
def sentry() -> Iterator[Kept]:
    with reporting() as kept:
        yield kept


def cookies_of(browser: Client) -> dict[str, str]:
    return {name: morsel.value for name, morsel in browser.cookies.items()}


def open_page(
    address: str, cookies: dict[str, str], *, method: str = "GET", form: str = "", **headers: str
) -> str:
    """Ask the WSGI application as a web server does; the status."""
    parts = urlsplit(address)
    statuses: list[str] = []
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": parts.path,
        "QUERY_STRING": parts.query,
        "RAW_URI": address,
        "REQUEST_URI": address,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "127.0.0.1:8000",
        "HTTP_COOKIE": "; ".join(f"{name}={value}" for name, value in cookies.items()),
        "CONTENT_TYPE": "application/x-www-form-urlencoded",
        "CONTENT_LENGTH": str(len(form)),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(form.encode()),
        "wsgi.errors": BytesIO(),
        "wsgi.multithread": True,
        **headers,
    }
    answer = application(environ, lambda status, headers, *_: statuses.append(status))
    b"".join(answer)
    getattr(answer, "close", lambda: None)()
    return statuses[0]


def hides(sentry: Kept, *found: str | None, event: str = "Unexpected") -> None:
    """Something was reported, with variables, and none of these is in it."""
    assert event in sentry.text
    for secret in (
        *found,
        settings.SPOTIFY_CLIENT_SECRET,
        settings.DATABASES["default"]["PASSWORD"],
    ):
        assert secret
        assert secret not in sentry.text


def test_sentry_sends_variables_by_default(sentry: Kept) -> None:
    """Else none of these tests could fail."""
    report(Quietly(seen_by_sentry, "a-token"))

    assert "a-token" in sentry.text


def seen_by_sentry(anything: str) -> None:
    fail(len(anything))


def test_an_exception_below_a_refresh(
    connect: Connect, sentry: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = token_of(connect())
    known = transport.of_this_thread()
    monkeypatch.setattr(EXCHANGE, fail)

    report(Quietly(refreshing.refresh, token.refresh_token, known, lifetime=3600))

    hides(sentry, token.refresh_token)


def test_an_exception_while_a_connection_is_prepared(
    sentry: Kept, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the client's secret and the proxy's password in hand."""
    settings.OUTBOUND_PROXY_URL = "http://user:password-of-the-proxy@127.0.0.1:9"
    monkeypatch.setattr("spotify_auth.tcp.options", fail)

    report(Quietly(transport.of_this_thread))

    hides(sentry, "password-of-the-proxy")


@pytest.mark.parametrize("broken", [EXCHANGE, "secrets.token_bytes", "json.loads"])
def test_an_exception_in_a_worker(
    connect: Connect,
    spotify: Sandbox,
    sentry: Kept,
    monkeypatch: pytest.MonkeyPatch,
    broken: str,
) -> None:
    """Before the answer, and with the answer in hand."""
    user = connect()
    token = token_of(user)
    monkeypatch.setattr(broken, fail)

    tasks.refresh.apply((user.pk,))

    monkeypatch.undo()
    hides(sentry, token.access_token, token.refresh_token, event="unforeseen")


def test_an_exception_of_the_database_in_a_worker(
    connect: Connect, sentry: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Celery's integration reports what a task raises."""
    user = connect()
    token = token_of(user)
    database.close()
    monkeypatch.setitem(database.settings_dict, "PORT", free_port())

    tasks.refresh.apply((user.pk,))

    monkeypatch.undo()
    database.close()
    hides(sentry, token.access_token, token.refresh_token, event="OperationalError")


@pytest.mark.parametrize("broken", ["json.dumps", "secrets.token_bytes"])
def test_an_exception_while_a_grant_is_saved(
    connect: Connect, sentry: Kept, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    with ClaimTransaction() as transaction:
        claim = claims.of_user(connect().pk)(transaction)
    assert claim
    grant = Grant(
        access_token="acc-" + "a" * 40, refresh_token="ref-" + "b" * 40, expires_in=3600, scope=""
    )
    call = Quietly(saved_grants.save, claim, SavedGrant(grant=grant, issued_at=claim.claimed_at))
    with monkeypatch.context() as patch:
        patch.setattr(broken, fail)
        error = raised_by(call)

    sentry_sdk.capture_exception(error)

    hides(sentry, grant.access_token, grant.refresh_token)


@pytest.mark.parametrize("column", ["access_token", "refresh_token"])
def test_an_exception_below_encryption(
    sentry: Kept, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    plain = ["tok-" + "c" * 40]
    call = Quietly(SpotifyToken.seal, column, plain[0], user_id=1)
    with monkeypatch.context() as patch:
        patch.setattr("secrets.token_bytes", fail)
        error = raised_by(call)

    sentry_sdk.capture_exception(error)

    assert plain[0] not in sentry.text
    hides(sentry)
    for key in settings.TOKEN_ENCRYPTION_KEYS:
        assert repr(key)[2:-1].replace("\\", "\\\\") not in sentry.text


def test_unusable_keys_are_not_shown(sentry: Kept, settings: Any) -> None:
    settings.TOKEN_ENCRYPTION_KEYS = "a-key-that-is-not-base64!"

    report(Quietly(SpotifyToken.seal, "access_token", "tok", user_id=1))

    hides(sentry, "a-key-that-is-not-base64!", event="ImproperlyConfigured")


def test_an_exception_below_the_login_exchange(
    sentry: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"code": "code-" + "d" * 40, "code_verifier": "verifier-" + "e" * 40}
    call = Quietly(authorization.exchange_code, **given)
    monkeypatch.setattr(EXCHANGE, fail)
    error = raised_by(call)

    sentry_sdk.capture_exception(error)

    hides(sentry, *given.values())


@pytest.mark.parametrize(
    "broken", ["secrets.token_bytes", "django.http.response.HttpResponseBase.set_cookie"]
)
def test_an_exception_while_a_login_begins(
    sentry: Kept, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    browser = Client()
    browser.get("/")
    cookies = cookies_of(browser)
    form = f"csrfmiddlewaretoken={cookies['csrftoken']}"
    monkeypatch.setattr("secrets.token_urlsafe", lambda size: f"known-of-{size}-bytes")
    monkeypatch.setattr(broken, fail)

    status = open_page(reverse("accounts:login"), cookies, method="POST", form=form)

    monkeypatch.undo()
    assert status.startswith("500")
    hides(sentry, "known-of-32-bytes", "known-of-48-bytes")  # the state and the code verifier


@pytest.mark.parametrize(
    "broken", [EXCHANGE, NETWORK, "secrets.token_bytes", "django.http.QueryDict.get"]
)
def test_an_exception_in_the_callback(
    spotify: Sandbox, sentry: Kept, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    browser = Client()
    callback = approve(spotify, begin(browser))
    query = parse_qs(urlsplit(callback).query)
    monkeypatch.setattr(broken, fail)

    status = open_page(callback, cookies_of(browser))

    monkeypatch.undo()
    assert status.startswith("500")
    hides(sentry, query["code"][0], query["state"][0], *cookies_of(browser).values())
    assert "/spotify/callback/" in sentry.text


def test_the_callback_works_through_the_web_server(spotify: Sandbox) -> None:
    browser = Client()
    callback = approve(spotify, begin(browser))

    assert open_page(callback, cookies_of(browser)).startswith("302")
    assert User.objects.count() == 1


def test_an_exception_in_a_page(
    connect: Connect, sentry: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token, the cookies and the headers of the request."""
    user = connect(due=False)
    browser = Client()
    browser.force_login(user)
    monkeypatch.setattr(NETWORK, fail)

    status = open_page(
        "/dashboard/", cookies_of(browser), HTTP_AUTHORIZATION="Bearer a-header-s-secret"
    )

    monkeypatch.undo()
    assert status.startswith("500")
    hides(sentry, token_of(user).access_token, *cookies_of(browser).values(), "a-header-s-secret")


def test_an_exception_below_the_session_of_the_web_api(
    connect: Connect, sentry: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = connect(due=False)
    monkeypatch.setattr(NETWORK, fail)

    report(Quietly(web_api.session_for(user).post, "/me/playlists", json={"name": "x"}))
    report(Quietly(web_api.get_all, user, {"me": ("/me", {})}))

    monkeypatch.undo()
    hides(sentry, token_of(user).access_token)


def test_a_lost_database_in_a_page(sentry: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """psycopg has the password in its variables, and the session its key."""
    browser = Client()
    browser.force_login(User.objects.create(username="ada"))
    database.close()
    monkeypatch.setitem(database.settings_dict, "PORT", free_port())

    status = open_page("/dashboard/", cookies_of(browser))

    monkeypatch.undo()
    database.close()
    assert status.startswith("503")
    hides(sentry, *cookies_of(browser).values(), event="OperationalError")


def test_an_exception_below_the_session(sentry: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    key = SessionStore()
    key.save()
    monkeypatch.setattr("django.db.models.sql.compiler.SQLCompiler.execute_sql", fail)

    report(Quietly(SessionStore(key.session_key).load))

    monkeypatch.undo()
    hides(sentry, key.session_key)


def test_a_password_in_a_form_is_not_sent(sentry: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.contrib.auth.forms.AuthenticationForm.clean", fail)
    form = "username=ada&password=a-long-password&csrfmiddlewaretoken=" + "c" * 32

    status = open_page("/admin/login/", {"csrftoken": "c" * 32}, method="POST", form=form)

    assert status.startswith("500")
    hides(sentry, "a-long-password")


def test_with_the_documented_options_no_form_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    (options,) = re.findall(
        r"sentry_sdk\.init\((.+)\)", (ROOT / "docs/how-to/operate.md").read_text()
    )
    monkeypatch.setattr("django.contrib.auth.forms.AuthenticationForm.clean", fail)
    form = "username=ada-lovelace&password=a-long-password&csrfmiddlewaretoken=" + "c" * 32

    with reporting(**eval(f"dict({options})")) as sentry:  # noqa: S307  (our own page)
        open_page("/admin/login/", {"csrftoken": "c" * 32}, method="POST", form=form)

    hides(sentry, "a-long-password", "c" * 32, "ada-lovelace")
