"""The admin's door: a password lately, a second factor, tries that are counted, and log lines."""

import re
import time
from collections.abc import Iterator

import pytest
import redis
from django.contrib.auth.models import Permission
from django.test import Client
from django_otp.oath import TOTP
from django_otp.plugins.otp_totp.models import TOTPDevice
from pytest_django import Settings

from accounts import second_factor
from accounts.admin_site import MARK
from accounts.models import User
from accounts.password_tries import DEVICE_COOKIE
from tests.support.admin import COUNTED, PASSWORD, CountedHasher, enter_admin
from tests.support.login import log_in
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import forget

pytestmark = pytest.mark.django_db

LOGIN = "/admin/login/"


@pytest.fixture(autouse=True)
def _no_tries_so_far(settings: Settings) -> Iterator[None]:
    settings.PASSWORD_HASHERS = [COUNTED]
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        forget(client, "accounts:tries:*")
        yield
        forget(client, "accounts:tries:*")


@pytest.fixture
def root() -> User:
    return User.objects.create_superuser("root", password=PASSWORD)


def type_in(client: Client, password: str = PASSWORD, name: str = "root", code: str = "") -> int:
    """Send the form; the status: 302 is in."""
    form = {"username": name, "password": password, "code": code, "next": "/admin/"}
    return client.post(LOGIN, form).status_code


def is_in(client: Client) -> bool:
    return client.get("/admin/").status_code == 200


def code_of(device: TOTPDevice, *, steps: int = 0) -> str:
    """What the authenticator app shows, now or some steps of 30 s from now."""
    totp = TOTP(device.bin_key, drift=steps)
    totp.time = time.time()
    return f"{totp.token():06}"


def enrolled(user: User) -> tuple[TOTPDevice, list[str]]:
    device = second_factor.new_authenticator(user)
    return device, second_factor.replace(user, device)


def test_the_password_lets_in(client: Client, root: User) -> None:
    assert not is_in(client)
    assert type_in(client) == 302
    assert is_in(client)
    assert client.get(LOGIN)["Location"] == "/admin/"


def test_the_sixth_password_is_refused_unhashed(client: Client, root: User) -> None:
    assert [type_in(client, f"wrong {n}") for n in range(5)] == [200] * 5
    before = CountedHasher.hashed

    answer = client.post(LOGIN, {"username": "root", "password": PASSWORD})

    assert answer.status_code == 429
    assert 0 < int(answer["Retry-After"]) <= 900
    assert "no-store" in answer["Cache-Control"]
    assert b"Too many passwords were tried" in answer.content
    assert b"Try again in 15 minutes" in answer.content
    assert CountedHasher.hashed == before
    assert not is_in(client)


def test_a_browser_that_was_in_before_is_not_locked_out(client: Client, root: User) -> None:
    type_in(client)
    known = Client()
    known.cookies[DEVICE_COOKIE] = client.cookies[DEVICE_COOKIE].value
    stranger = Client()
    for n in range(5):
        type_in(stranger, f"wrong {n}")
    assert type_in(stranger) == 429

    assert type_in(known) == 302


def test_a_login_with_spotify_is_not_tried_nor_counted(client: Client, spotify: Sandbox) -> None:
    for n in range(6):
        type_in(client, f"wrong {n}")

    assert log_in(client, spotify)["Location"] == "/dashboard/"


def test_a_login_with_spotify_alone_never_enters_the_admin(
    client: Client, spotify: Sandbox
) -> None:
    log_in(client, spotify)
    User.objects.update(username="linked", is_staff=True, is_superuser=True)
    again = Client()
    log_in(again, spotify)  # as an administrator by now

    for browser in (client, again):
        assert browser.get("/dashboard/").status_code == 200
        answer = browser.get("/admin/")
        assert (answer.status_code, answer["Location"]) == (302, "/admin/login/?next=/admin/")
        assert browser.get("/admin/accounts/user/").status_code == 302
        assert browser.post("/admin/accounts/user/", {"action": "x"}).status_code == 302


def test_a_login_with_spotify_as_somebody_else_takes_the_mark_away(
    client: Client, root: User, spotify: Sandbox
) -> None:
    type_in(client)
    client.post("/logout/")
    log_in(client, spotify)
    User.objects.exclude(pk=root.pk).update(is_staff=True)

    assert not is_in(client)


def test_a_mark_is_for_one_user_alone(client: Client, root: User) -> None:
    other = User.objects.create_superuser("other", password=PASSWORD)
    enter_admin(client, other)
    session = client.session
    session[MARK] = {**session[MARK], "user": str(root.pk)}
    session.save()

    assert not is_in(client)


@pytest.mark.parametrize("age", [12 * 3600 + 1, -3600])
def test_after_twelve_hours_the_password_is_asked_for_and_the_session_goes_on(
    client: Client, root: User, age: int
) -> None:
    type_in(client)
    session = client.session
    session[MARK] = {**session[MARK], "at": time.time() - age}
    session["other"] = "kept"
    session.save()

    page = client.get("/admin/", follow=True)

    assert page.redirect_chain == [("/admin/login/?next=/admin/", 302)]
    assert b"asks for your password every 12 hours" in page.content
    assert client.get("/connection/").status_code == 200
    assert type_in(client) == 302
    assert is_in(client)
    assert client.session["other"] == "kept"


def test_who_is_no_administrator_is_told_so(client: Client) -> None:
    User.objects.create_user("ada", password=PASSWORD)

    assert type_in(client, name="ada") == 200
    assert not is_in(client)


def test_a_deactivated_administrator_is_out_at_once(client: Client, root: User) -> None:
    type_in(client)
    User.objects.update(is_active=False)

    assert not is_in(client)


# --- The second factor -------------------------------------------------------------------


def test_who_has_a_second_factor_needs_it(client: Client, root: User) -> None:
    device, _ = enrolled(root)

    assert type_in(client) == 200
    assert type_in(client, code="000000") == 200
    assert not is_in(client)
    TOTPDevice.objects.update(throttling_failure_count=0)
    assert type_in(client, code=code_of(device)) == 302
    assert is_in(client)


def test_required_lets_in_nobody_without(client: Client, root: User, settings: Settings) -> None:
    type_in(client)
    assert is_in(client)
    settings.ADMIN_SECOND_FACTOR = "required"

    assert not is_in(client)  # a session from before
    assert type_in(client) == 200
    device, _ = enrolled(root)
    assert type_in(client, code=code_of(device)) == 302
    assert is_in(client)


def test_off_asks_for_no_code(client: Client, root: User, settings: Settings) -> None:
    enrolled(root)
    settings.ADMIN_SECOND_FACTOR = "off"

    assert b'name="code"' not in client.get(LOGIN).content
    assert type_in(client) == 302


def test_a_code_and_a_backup_code_work_once(root: User) -> None:
    device, backup = enrolled(root)
    code = code_of(device)

    assert [type_in(Client(), code=code) for _ in range(2)] == [302, 200]
    # A wrong backup code does not make the app wait, nor the other way round.
    assert type_in(Client(), code=f" {backup[0].upper()} ") == 302
    assert type_in(Client(), code=backup[0]) == 200


def test_guessing_at_codes_is_counted_like_passwords(client: Client, root: User) -> None:
    device, _ = enrolled(root)

    assert [type_in(client, code=f"{n:06}") for n in range(6)] == [200] * 5 + [429]
    assert type_in(client, code=code_of(device)) == 429


def test_a_device_waits_longer_after_each_wrong_code(client: Client, root: User) -> None:
    device, _ = enrolled(root)
    for n in range(3):
        type_in(client, code=f"{n:06}")

    assert type_in(client, code=code_of(device)) == 200  # it is right, but too early


def test_a_removed_device_ends_the_session_that_it_opened(
    client: Client, root: User, settings: Settings
) -> None:
    settings.ADMIN_SECOND_FACTOR = "required"
    device, _ = enrolled(root)
    type_in(client, code=code_of(device))
    assert is_in(client)

    second_factor.remove(root)

    assert not is_in(client)


def test_no_page_shows_or_makes_a_second_factor(client: Client, root: User) -> None:
    enter_admin(client, root)

    index = client.get("/admin/").content.decode()
    for address in ("otp_totp/totpdevice", "otp_static/staticdevice"):
        assert client.get(f"/admin/{address}/").status_code == 404
        assert address not in index


# --- Log lines -----------------------------------------------------------------------------


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if re.match(r"(admin_)?log(in|out)", record.getMessage())
    ]


def test_each_login_has_a_line_with_the_number_and_the_address(
    client: Client,
    root: User,
    spotify: Sandbox,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings.TRUSTED_PROXIES = "127.0.0.1"
    client.defaults["HTTP_X_FORWARDED_FOR"] = "6.6.6.6, 2001:db8::7"
    with caplog.at_level("INFO"):
        type_in(client, "wrong")
        type_in(client, "wrong", name="nobody\r\nlogin user_id=1")
        type_in(client)
        client.post("/logout/")
        client.post("/logout/")
        log_in(client, spotify)

    listener = User.objects.get(username=None)
    at = "address=2001:db8::7"
    assert lines(caplog) == [
        f"admin_login_failed user_id={root.pk} reason=password {at}",
        f"admin_login_failed user_id=None reason=password {at}",
        f"admin_login user_id={root.pk} {at}",
        f"logout user_id={root.pk} {at}",
        f"login user_id={listener.pk} {at}",
    ]


def test_a_failed_code_and_a_lock_out_have_lines(
    client: Client, root: User, caplog: pytest.LogCaptureFixture
) -> None:
    enrolled(root)

    for n in range(6):
        type_in(client, code=f"{n:06}")

    said = lines(caplog)
    assert said[0] == f"admin_login_failed user_id={root.pk} reason=second_factor address=127.0.0.1"
    assert re.fullmatch(r"admin_login_locked_out address=127\.0\.0\.1 seconds=\d+", said[5])
    assert PASSWORD not in caplog.text
    assert "root" not in caplog.text


def test_somebody_with_permissions_and_no_mark_is_asked_too(client: Client) -> None:
    viewer = User.objects.create_user("viewer", password=PASSWORD, is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_spotifytoken"))
    client.force_login(viewer)

    assert client.get("/admin/spotify_auth/spotifytoken/").status_code == 302


OWN_PASSWORD = "/admin/password_change/"


def test_guesses_at_ones_own_password_count(client: Client, root: User) -> None:
    """A stolen session must not tell the password, which outlives it."""
    enter_admin(client, root)
    new = {"new_password1": "a-new-long-password", "new_password2": "a-new-long-password"}
    for guess in range(5):
        wrong = client.post(OWN_PASSWORD, {"old_password": f"guess-{guess}", **new})
        assert wrong.status_code == 200
    hashed = CountedHasher.hashed

    refused = client.post(OWN_PASSWORD, {"old_password": PASSWORD, **new})

    assert refused.status_code == 429
    assert CountedHasher.hashed == hashed
    root.refresh_from_db()
    assert root.check_password(PASSWORD)


def test_ones_own_password_is_changed_with_the_old_one(client: Client, root: User) -> None:
    enter_admin(client, root)
    new = {"new_password1": "a-new-long-password", "new_password2": "a-new-long-password"}

    changed = client.post(OWN_PASSWORD, {"old_password": PASSWORD, **new})

    assert changed.status_code == 302
    root.refresh_from_db()
    assert root.check_password("a-new-long-password")


def test_a_superuser_too_needs_the_old_one(client: Client, root: User) -> None:
    other = User.objects.create_user("other", password=PASSWORD, is_staff=True)
    enter_admin(client, root)

    own = client.get(f"/admin/accounts/user/{root.pk}/password/")

    assert (own.status_code, own["Location"]) == (302, OWN_PASSWORD)
    assert client.get(f"/admin/accounts/user/{other.pk}/password/").status_code == 200


def test_a_new_second_factor_ends_the_sessions_from_before(client: Client, root: User) -> None:
    enter_admin(client, root)
    assert client.get("/admin/").status_code == 200

    second_factor.replace(root, TOTPDevice(user=root, name="phone"))

    assert client.get("/admin/").status_code == 302
