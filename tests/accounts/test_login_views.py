"""Logging in: the whole way to Spotify and back, and everything that can go wrong on it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from threading import Barrier
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from accounts import users
from accounts.models import User
from spotify_auth import cooldown, login, login_attempts
from spotify_auth.models import LoginAttempt, SpotifyToken, UsedLogin
from tests.support.login import approve, begin, begin_in_the_previous_version, log_in
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Elsewhere, token_of

pytestmark = pytest.mark.django_db

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

CALLBACK = reverse("accounts:callback")


@pytest.fixture
def browser() -> Client:
    return Client(headers={"host": "127.0.0.1:8000"}, raise_request_exception=True)


def assert_clear_page(response: "Response", status: int, words: str) -> None:
    """A page with words for the user and a way on."""
    text = response.content.decode()
    assert response.status_code == status
    assert words in text
    assert reverse("accounts:login") in text
    assert reverse("accounts:home") in text
    assert "Traceback" not in text


def logged_in(browser: Client) -> bool:
    return "_auth_user_id" in browser.session


def test_logs_in_and_stores_the_token(browser: Client, spotify: Sandbox) -> None:
    response = log_in(browser, spotify)

    assert (response.status_code, response["Location"]) == (302, reverse("accounts:dashboard"))
    user = User.objects.get()
    assert logged_in(browser)
    account_id = spotify.stats("user-1")["account_id"]
    assert token_of(user).account_id == account_id
    assert user.account_id == account_id  # for the previous version
    assert (user.username, user.has_usable_password()) == (None, False)
    assert token_of(user).scope == " ".join(settings.SPOTIFY_SCOPES)


def test_asks_with_state_and_pkce(browser: Client, spotify: Sandbox) -> None:
    parameters = begin(browser)

    assert parameters["response_type"] == "code"
    assert parameters["code_challenge_method"] == "S256"
    assert len(parameters["code_challenge"]) == 43
    assert len(parameters["state"]) == 43
    assert parameters["redirect_uri"] == settings.SPOTIFY_REDIRECT_URI


def test_the_second_login_is_the_same_user(browser: Client, spotify: Sandbox) -> None:
    log_in(browser, spotify)
    log_in(Client(headers={"host": "127.0.0.1:8000"}), spotify)

    assert token_of(User.objects.get()).generation == 2


def test_the_session_key_is_new_after_each_login(browser: Client, spotify: Sandbox) -> None:
    browser.get(reverse("accounts:home"))
    session = browser.session
    session["before"] = True
    session.save()
    keys = [session.session_key]

    for _ in range(2):
        log_in(browser, spotify)
        keys.append(browser.session.session_key)

    assert len(set(keys)) == 3


@pytest.mark.parametrize("tab", range(5))
def test_several_tabs_may_log_in_at_once(browser: Client, spotify: Sandbox, tab: int) -> None:
    tabs = [begin(browser) for _ in range(5)]

    response = browser.get(approve(spotify, tabs[tab]))

    assert response.status_code == 302
    assert token_of(User.objects.get()).generation == 1


def test_several_tabs_of_a_user_may_reconnect_at_once(browser: Client, spotify: Sandbox) -> None:
    log_in(browser, spotify)
    tabs = [begin(browser) for _ in range(5)]

    for parameters in reversed(tabs):
        assert browser.get(approve(spotify, parameters)).status_code == 302

    assert logged_in(browser)
    assert token_of(User.objects.get()).generation > 1


def test_a_login_that_another_tab_has_made_needless_says_so(
    browser: Client, spotify: Sandbox
) -> None:
    first, second = begin(browser), begin(browser)
    browser.get(approve(spotify, first))

    response = browser.get(approve(spotify, second, "user-2"))

    page = response.content.decode()
    assert response.status_code == 409
    assert "You are logged in already" in page
    assert f'class="button primary" href="{reverse("accounts:dashboard")}"' in page
    assert User.objects.count() == 1
    assert spotify.stats()["totals"]["logins"] == 1


def test_who_was_logged_out_on_the_way_is_told_and_can_log_in(
    browser: Client, spotify: Sandbox
) -> None:
    log_in(browser, spotify)
    address = approve(spotify, begin(browser))
    browser.post(reverse("accounts:logout"))

    response = browser.get(address)

    assert_clear_page(response, 409, "You were logged out meanwhile")
    assert b"Log in with Spotify" in response.content
    assert not logged_in(browser)
    assert token_of(User.objects.get()).generation == 1
    assert log_in(browser, spotify).status_code == 302


def test_a_login_begun_by_another_user_is_not_completed(browser: Client, spotify: Sandbox) -> None:
    log_in(browser, spotify, "user-1")
    address = approve(spotify, begin(browser, switch="yes"), "user-3")
    other = User.objects.create(username="bob")
    browser.force_login(other)

    response = browser.get(address)

    assert response.status_code == 409
    assert "Somebody else began this login" in response.content.decode()
    assert "Try again with Spotify" in response.content.decode()
    assert browser.session["_auth_user_id"] == str(other.pk)
    assert User.objects.count() == 2
    assert spotify.stats()["totals"]["logins"] == 1


@pytest.mark.parametrize("form", [{}, {"switch": "yes"}])
def test_a_strangers_login_that_is_planted_on_a_user_is_not_completed(
    browser: Client, spotify: Sandbox, admin_user: User, form: dict[str, str]
) -> None:
    attacker = Client(headers={"host": "127.0.0.1:8000"})
    address = approve(spotify, begin(attacker, **form), "user-6")
    browser.force_login(admin_user)
    browser.cookies[login.cookie_name()] = attacker.cookies[login.cookie_name()].value

    response = browser.get(address)

    assert response.status_code == 409
    assert "You are logged in already" in response.content.decode()
    assert User.objects.get() == admin_user
    assert browser.session["_auth_user_id"] == str(admin_user.pk)
    assert spotify.stats()["totals"]["logins"] == 0


def test_the_attempt_is_used_up_and_its_cookie_removed(browser: Client, spotify: Sandbox) -> None:
    log_in(browser, spotify)

    assert UsedLogin.objects.count() == 1
    assert browser.cookies[login.cookie_name()].value == ""


@pytest.mark.parametrize(
    ("https", "name"),
    [(False, "login"), (True, "__Host-login")],  # which no other host can set
)
def test_the_attempt_cookie_is_kept_from_scripts_and_other_hosts(
    browser: Client, spotify: Sandbox, settings: Settings, https: bool, name: str
) -> None:
    settings.HTTPS = https
    state = begin(browser)["state"]

    cookie = browser.cookies[name]
    assert (bool(cookie["secure"]), cookie["httponly"], cookie["samesite"]) == (https, True, "Lax")
    assert (cookie["path"], cookie["domain"], cookie["max-age"]) == ("/", "", 600)
    deleted = browser.get(f"{CALLBACK}?state={state}").cookies[name]
    assert (deleted.value, deleted["path"], bool(deleted["secure"])) == ("", "/", https)


def test_a_hundred_and_twenty_five_logins_leave_one_cookie(
    browser: Client, spotify: Sandbox, settings: Settings
) -> None:
    settings.RATE_LIMIT_LOGINS = 0
    for n in range(124):
        begin(browser, next=f"/connection/?{'x' * 170}{n}")
    latest = begin(browser)

    (cookie,) = browser.cookies.values()
    assert len(f"{cookie.key}={cookie.value}") < 4096  # a browser's limit, and half of gunicorn's
    assert browser.get(approve(spotify, latest)).status_code == 302
    assert logged_in(browser)


@pytest.mark.slow
def test_thousands_of_logins_begun_by_strangers_leave_no_row(
    browser: Client, spotify: Sandbox, settings: Settings
) -> None:
    settings.RATE_LIMIT_LOGINS = 0
    for _ in range(2_000):
        begin(browser, next="/" + "x" * 1990)
        browser.cookies.clear()

    assert not LoginAttempt.objects.exists()
    assert not UsedLogin.objects.exists()
    assert not Session.objects.exists()


def change_state(parameters: dict[str, list[str]], browser: Client) -> None:
    parameters["state"] = ["x" * 43]


def drop_state(parameters: dict[str, list[str]], browser: Client) -> None:
    del parameters["state"]


def drop_cookies(parameters: dict[str, list[str]], browser: Client) -> None:
    browser.cookies.clear()


def let_it_expire(parameters: dict[str, list[str]], browser: Client) -> None:
    name = login.cookie_name()
    (attempt,) = login_attempts.read(browser.cookies[name].value)
    browser.cookies[name] = login_attempts.seal([replace(attempt, begun_at=attempt.begun_at - 601)])


@pytest.mark.parametrize(
    "tamper",
    [
        change_state,  # wrong
        drop_state,  # missing
        drop_cookies,  # another browser: login CSRF
        let_it_expire,  # too old
    ],
)
def test_a_state_that_does_not_hold_is_refused(
    browser: Client,
    spotify: Sandbox,
    tamper: Callable[[dict[str, list[str]], Client], None],
) -> None:
    query = parse_qs(urlsplit(approve(spotify, begin(browser))).query)
    tamper(query, browser)

    response = browser.get(f"{CALLBACK}?{urlencode(query, doseq=True)}")

    assert_clear_page(response, 400, "no longer valid")
    assert not logged_in(browser)
    assert not SpotifyToken.objects.exists()
    # The code was not even tried.
    assert spotify.stats()["totals"]["logins"] == 0


def test_a_replayed_callback_changes_nothing(browser: Client, spotify: Sandbox) -> None:
    address = approve(spotify, begin(browser))
    browser.get(address)
    before = token_of(User.objects.get())

    response = browser.get(address)

    assert_clear_page(response, 400, "no longer valid")
    assert logged_in(browser)
    assert token_of(User.objects.get()).generation == before.generation


@pytest.mark.django_db(transaction=True)
def test_two_requests_with_one_state_log_in_once(
    browser: Client, spotify: Sandbox, elsewhere: Elsewhere
) -> None:
    parameters = begin(browser)
    address = approve(spotify, parameters)
    twins = [Client(headers={"host": "127.0.0.1:8000"}) for _ in range(2)]
    for twin in twins:
        twin.cookies[login.cookie_name()] = browser.cookies[login.cookie_name()].value
    barrier = Barrier(2)

    answers: dict[int, Response] = {}

    def come_back(twin: Client) -> None:
        barrier.wait(10)
        answer = twin.get(address)
        answers[answer.status_code] = answer

    for request in [elsewhere(come_back, twin) for twin in twins]:
        request.result()

    assert set(answers) == {302, 400}
    # The code was not tried again.
    assert_clear_page(answers[400], 400, "This login is no longer valid")
    assert spotify.stats()["totals"]["logins"] == 1


def test_a_code_used_twice_is_refused(browser: Client, spotify: Sandbox) -> None:
    used = parse_qs(urlsplit(approve(spotify, begin(browser))).query)["code"][0]
    parameters = begin(browser)
    code_of_another = urlencode({"code": used, "state": parameters["state"]})

    response = browser.get(f"{CALLBACK}?{code_of_another}")

    # Bound to the first tab's verifier by PKCE: an injected code is worth nothing.
    assert_clear_page(response, 400, "did not accept this login")
    assert not logged_in(browser)


def test_refusing_on_spotify_is_respected(browser: Client, spotify: Sandbox) -> None:
    address = urlsplit(spotify.refuse(begin(browser)))

    response = browser.get(f"{address.path}?{address.query}")

    assert_clear_page(response, 403, "chose not to connect")
    assert not User.objects.exists()


@pytest.mark.parametrize(
    ("error", "status", "words", "level"),
    [
        ("invalid_scope", 503, "not set up correctly", "ERROR"),
        ("server_error", 502, "could not complete", "WARNING"),
    ],
)
def test_spotifys_word_is_in_the_log(
    browser: Client,
    spotify: Sandbox,
    caplog: pytest.LogCaptureFixture,
    error: str,
    status: int,
    words: str,
    level: str,
) -> None:
    query = urlencode({"error": error, "state": begin(browser)["state"]})

    assert_clear_page(browser.get(f"{CALLBACK}?{query}"), status, words)
    (line,) = [r for r in caplog.records if "login_refused_by_spotify" in r.getMessage()]
    assert (line.levelname, line.getMessage().split("error=")[1]) == (level, f'"{error}"')


@pytest.mark.parametrize("query", ["error=server_error", "error=%3Cscript%3Ealert(1)%3C/script%3E"])
def test_any_other_error_of_spotify_is_told(browser: Client, spotify: Sandbox, query: str) -> None:
    state = begin(browser)["state"]

    response = browser.get(f"{CALLBACK}?{query}&state={state}")

    assert_clear_page(response, 502, "could not complete")
    assert b"<script>alert" not in response.content


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        ({"fault": "unavailable"}, 503, "not answering"),
        ({"fault": "garbage"}, 503, "not answering"),
        ({"fault": "connection_reset"}, 503, "not answering"),
        ({"fault": "answer_lost"}, 503, "not answering"),
        ({"fault": "rate_limited", "retry_after": "3"}, 503, "again in about 1 minute."),
        ({"fault": "invalid_client"}, 503, "not set up correctly"),
        ({"fault": "false_invalid_grant"}, 400, "did not accept this login"),
        # the Web API, asked who this is
        ({"fault": "web_api_error", "status": 503, "message": "x"}, 503, "not answering"),
        (
            {
                "fault": "web_api_error",
                "status": 403,
                "message": "User not registered in the Developer Dashboard",
            },
            403,
            "may not use the site yet",
        ),
    ],
)
def test_an_exchange_that_fails_gives_a_clear_page(
    browser: Client, spotify: Sandbox, fault: dict[str, object], status: int, words: str
) -> None:
    address = approve(spotify, begin(browser))
    spotify.faults(**fault)  # type: ignore[arg-type]

    response = browser.get(address)

    assert_clear_page(response, status, words)
    assert not logged_in(browser)
    assert not SpotifyToken.objects.exists()
    spotify.clear()
    cooldown.lift()  # a 429 lets everybody wait, and this time is over
    assert log_in(browser, spotify).status_code == 302


def test_a_deactivated_user_is_not_let_in(browser: Client, spotify: Sandbox) -> None:
    log_in(browser, spotify)
    User.objects.update(is_active=False)
    other = Client(headers={"host": "127.0.0.1:8000"})

    assert_clear_page(log_in(other, spotify), 403, "switched off")
    assert not logged_in(other)


@pytest.mark.parametrize(
    ("wanted", "arrives"),
    [
        ("/connection/", "/connection/"),
        ("/connection/?a=b", "/connection/?a=b"),
        ("https://evil.example/", "/dashboard/"),
        ("//evil.example/", "/dashboard/"),
        ("/\\evil.example/", "/dashboard/"),
        ("javascript:alert(1)", "/dashboard/"),
        ("/connection/?" + "x" * 187, "/connection/?" + "x" * 187),
        ("/connection/?" + "x" * 188, "/dashboard/"),
        ("/" + "x" * 3000, "/dashboard/"),
        ("", "/dashboard/"),
        # not a path: redirect() would look for a view of that name
        ("dashboard", "/dashboard/"),
        ("foo.", "/dashboard/"),
        ("/a\0b", "/dashboard/"),
        ("/a\r\nb", "/dashboard/"),
    ],
)
def test_only_a_safe_next_is_followed(
    browser: Client, spotify: Sandbox, wanted: str, arrives: str
) -> None:
    response = browser.get(approve(spotify, begin(browser, next=wanted)))

    assert response["Location"] == arrives


def test_the_callback_is_neither_cached_nor_passed_on(browser: Client, spotify: Sandbox) -> None:
    response = log_in(browser, spotify)

    assert "no-store" in response["Cache-Control"]
    assert response["Referrer-Policy"] == "strict-origin"


def test_a_callback_without_a_code_is_not_tried(browser: Client, spotify: Sandbox) -> None:
    state = begin(browser)["state"]

    assert_clear_page(browser.get(f"{CALLBACK}?state={state}"), 502, "could not complete")


@pytest.mark.parametrize(
    ("name", "wrong_method"),
    [("login", "get"), ("connect", "get"), ("callback", "post"), ("reconnect", "post")],
)
def test_only_the_right_method_acts(browser: Client, name: str, wrong_method: str) -> None:
    response = getattr(browser, wrong_method)(reverse(f"accounts:{name}"))

    assert response.status_code == 405


def test_logging_in_needs_a_csrf_token() -> None:
    browser = Client(enforce_csrf_checks=True, headers={"host": "127.0.0.1:8000"})

    assert browser.post(reverse("accounts:login")).status_code == 403


def test_disconnecting_erases_our_copy(browser: Client, spotify: Sandbox) -> None:
    log_in(browser, spotify)

    response = browser.post(reverse("spotify_auth:disconnect"))

    assert response["Location"] == reverse("accounts:connection")
    token = token_of(User.objects.get())
    assert (token.status, token.access_token, token.refresh_token) == ("disconnected", None, None)
    assert logged_in(browser)


def test_a_login_reconnects_a_dead_token_of_a_clock_that_was_ahead(
    browser: Client, spotify: Sandbox
) -> None:
    log_in(browser, spotify)
    SpotifyToken.objects.update(
        authorized_at=Now() + timedelta(days=1), status="reconnect_required", last_error="x"
    )

    log_in(browser, spotify)

    assert SpotifyToken.objects.get().status == SpotifyToken.Status.ACTIVE


def test_a_login_that_a_newer_one_overtook_says_so(browser: Client, spotify: Sandbox) -> None:
    log_in(browser, spotify)
    SpotifyToken.objects.update(authorized_at=RawSQL("clock_timestamp()", ()))

    response = log_in(browser, spotify)  # by the clock of the test's transaction it began before

    assert response.status_code == 302
    assert token_of(User.objects.get()).generation == 1
    page = browser.get(reverse("accounts:connection")).content.decode()
    assert "this login changed nothing" in page


def test_switching_asks_spotify_to_ask(browser: Client) -> None:
    assert begin(browser)["show_dialog"] == "false"
    assert begin(browser, switch="yes")["show_dialog"] == "true"


def test_who_reconnects_is_asked_so_that_six_months_surely_begin(
    browser: Client, spotify: Sandbox
) -> None:
    """Whether a pass without a question begins them is not known."""
    log_in(browser, spotify)

    assert begin(browser)["show_dialog"] == "true"
    visitor = Client()
    mailed = visitor.get(reverse("accounts:reconnect")).content.decode()
    assert '<input type="hidden" name="renew" value="yes">' in mailed
    assert begin(visitor, renew="yes")["show_dialog"] == "true"


def test_who_switches_goes_on_as_the_other_account(browser: Client, spotify: Sandbox) -> None:
    log_in(browser, spotify, "user-1")

    browser.get(approve(spotify, begin(browser, switch="yes"), "user-2"))

    assert User.objects.count() == 2
    user = User.objects.get(pk=browser.session["_auth_user_id"])
    assert user.account_id == spotify.stats("user-2")["account_id"]


def test_a_user_who_comes_back_with_another_account_is_told(
    browser: Client, spotify: Sandbox
) -> None:
    log_in(browser, spotify, "user-1")
    before = browser.session["_auth_user_id"]

    response = browser.get(approve(spotify, begin(browser), "user-2"))

    assert_clear_page(response, 409, "That is another Spotify account")
    assert b'name="switch" value="yes"' in response.content
    assert browser.session["_auth_user_id"] == before
    # The grant belongs to that account all the same: it is stored.
    other = User.objects.get(account_id=spotify.stats("user-2")["account_id"])
    assert token_of(other).status == SpotifyToken.Status.ACTIVE
    assert token_of(User.objects.get(pk=before)).generation == 1


@pytest.mark.parametrize("was_here_before", [True, False])
def test_an_administrator_who_switches_links_nothing(
    browser: Client, spotify: Sandbox, admin_user: User, was_here_before: bool
) -> None:
    if was_here_before:
        log_in(Client(headers={"host": "127.0.0.1:8000"}), spotify, "user-1")
    browser.force_login(admin_user)

    response = browser.get(approve(spotify, begin(browser, switch="yes"), "user-1"))

    assert response.status_code == 302
    listener = User.objects.get(account_id=spotify.stats("user-1")["account_id"])
    assert listener != admin_user
    assert browser.session["_auth_user_id"] == str(listener.pk)
    assert not SpotifyToken.objects.filter(user=admin_user).exists()
    admin_user.refresh_from_db()
    assert admin_user.account_id is None


def test_a_user_with_a_password_connects_by_the_button(browser: Client, spotify: Sandbox) -> None:
    user = User.objects.create_user("ada", password="x")
    browser.force_login(user)

    assert log_in(browser, spotify).status_code == 302

    assert User.objects.get() == user
    assert token_of(user).status == SpotifyToken.Status.ACTIVE


def test_an_account_of_another_user_stays_with_that_user(browser: Client, spotify: Sandbox) -> None:
    owner = User.objects.create(account_id=spotify.connect(["user-1"])["user-1"]["account_id"])
    user = User.objects.create_user("ada", password="x")
    browser.force_login(user)

    response = log_in(browser, spotify, "user-1")

    assert_clear_page(response, 409, "belongs to another user")
    user.refresh_from_db()
    assert user.account_id is None
    assert not SpotifyToken.objects.exists()
    assert User.objects.get(account_id__isnull=False) == owner


def test_a_user_whose_account_was_unlinked_on_the_way_gets_no_new_user(
    browser: Client, spotify: Sandbox
) -> None:
    user = User.objects.create_user("ada", password="x")
    browser.force_login(user)
    log_in(browser, spotify)
    address = approve(spotify, begin(browser))  # to log in, since there is an account
    assert users.unlink(user, requested_by="chief")

    response = browser.get(address)

    # Unlinking has ended the session.
    assert response.status_code == 409
    assert not logged_in(browser)
    assert User.objects.get() == user


def test_a_connect_attempt_is_no_login(browser: Client, spotify: Sandbox) -> None:
    user = User.objects.create_user("ada", password="x")
    browser.force_login(user)
    address = approve(spotify, begin(browser))
    browser.post(reverse("accounts:logout"))

    response = browser.get(address)

    assert response.status_code == 409
    assert not logged_in(browser)
    assert User.objects.get() == user


@pytest.mark.parametrize("switch", [False, True])
def test_a_login_begun_before_an_upgrade_is_completed(
    browser: Client, spotify: Sandbox, switch: bool
) -> None:
    old = begin_in_the_previous_version(door="login", for_user="", switch=switch)
    browser.cookies[old.cookie_name] = old.cookie

    response = browser.get(approve(spotify, old.parameters))

    assert (response.status_code, response["Location"]) == (302, "/next/")
    assert logged_in(browser)
    deleted = response.cookies[old.cookie_name]
    assert (deleted.value, deleted["path"]) == ("", CALLBACK)


def test_one_that_somebody_else_began_before_an_upgrade_links_nothing(
    browser: Client, spotify: Sandbox, admin_user: User
) -> None:
    old = begin_in_the_previous_version(door="login", for_user="", switch=False)
    browser.force_login(admin_user)
    browser.cookies[old.cookie_name] = old.cookie

    assert browser.get(approve(spotify, old.parameters)).status_code == 409

    assert User.objects.get() == admin_user
    assert not SpotifyToken.objects.exists()
