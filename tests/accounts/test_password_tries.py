"""Tries of passwords are counted before they are checked: in Redis, and without it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import redis
from django.http import HttpResponse
from django.test import RequestFactory
from pytest_django import Settings

from accounts import password_tries
from accounts.password_tries import DEVICE_COOKIE, LockedOut, Try
from dev.process import free_port
from tests.support.processes import wait_for
from tests.support.tokens import forget

HOME = "198.51.100.4"


@pytest.fixture(autouse=True)
def counters(settings: Settings) -> Iterator[redis.Redis]:
    """No tries so far."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        forget(client, "accounts:tries:*")
        yield client
        forget(client, "accounts:tries:*")


def a_try(name: str = "root", address: str = HOME, cookie: str = "") -> Try:
    request = RequestFactory().post("/admin/login/", REMOTE_ADDR=address)
    if cookie:
        request.COOKIES[DEVICE_COOKIE] = cookie
    return Try(request, name)


def admitted(*tries: Try) -> int:
    """How many of these, one after the other, were let through to the password."""
    count = 0
    for one in tries:
        with suppress(LockedOut):
            one.begin()
            count += 1
    return count


def cookie_of(name: str) -> str:
    """What a browser holds that has logged in under this name."""
    response = HttpResponse()
    a_try(name).remember_device(response)
    return response.cookies[DEVICE_COOKIE].value


def test_tries_at_the_same_time_are_counted_one_by_one() -> None:
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda _: admitted(a_try()), range(96)))

    assert sum(results) == 5


def test_each_limit_holds(counters: redis.Redis) -> None:
    # One name from one address; spellings of it are one.
    assert admitted(*(a_try() for _ in range(9))) == 5
    assert admitted(a_try("ROOT"), a_try("\uff52oot")) == 0
    # Many names from one address.
    assert admitted(*(a_try(f"name-{n}") for n in range(30))) == 15
    # One name from many addresses.
    assert admitted(*(a_try("ada", f"192.0.2.{n}") for n in range(50))) == 30
    # Many names from many addresses.
    assert admitted(*(a_try(f"x{n}", f"203.0.113.{n}") for n in range(50))) == 10


def test_an_ipv6_network_is_one_address() -> None:
    assert admitted(*(a_try(address=f"2001:db8::{n:x}") for n in range(1, 30))) == 5


def test_the_wait_ends(counters: redis.Redis) -> None:
    assert admitted(*(a_try() for _ in range(6))) == 5
    with pytest.raises(LockedOut) as refused:
        a_try().begin()
    assert 890 < refused.value.seconds <= 900

    for key in counters.scan_iter("accounts:tries:*"):
        counters.pexpire(key, 1)
    wait_for(lambda: not list(counters.scan_iter("accounts:tries:*")), what="the time to pass")

    assert admitted(a_try()) == 1


def test_a_right_password_does_not_count() -> None:
    for _ in range(70):
        one = a_try()
        one.begin()
        one.succeeded()

    assert admitted(*(a_try() for _ in range(6))) == 5


def test_strangers_do_not_lock_out_a_browser_that_is_known() -> None:
    cookie = cookie_of("root")
    admitted(*(a_try("root", f"192.0.2.{n}") for n in range(50)))
    admitted(*(a_try(f"x{n}", f"203.0.113.{n}") for n in range(50)))
    assert admitted(a_try("root", "192.0.2.99")) == 0

    assert admitted(*(a_try("root", cookie=cookie) for _ in range(30))) == 10


@pytest.mark.parametrize("forge", [lambda c: c + "x", lambda c: "", lambda c: "W10:a:b"])
def test_a_forged_cookie_knows_no_browser(forge: object) -> None:
    cookie = forge(cookie_of("root"))  # type: ignore[operator]

    assert admitted(*(a_try(cookie=cookie) for _ in range(9))) == 5


def test_a_cookie_is_for_one_name_alone() -> None:
    assert admitted(*(a_try("ada", cookie=cookie_of("root")) for _ in range(9))) == 5


def test_redis_learns_no_name_and_no_address_and_forgets(counters: redis.Redis) -> None:
    admitted(a_try("my-password-by-mistake"))

    keys = list(counters.scan_iter("accounts:tries:*"))
    assert len(keys) == 4
    assert not any(b"my-password" in key or HOME.encode() in key for key in keys)
    assert all(0 < counters.pttl(key) <= 3600_000 for key in keys)


def test_without_redis_a_process_tries_one_password_at_a_time(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    monkeypatch.setattr(password_tries, "_alone", password_tries._Alone())

    assert admitted(*(a_try(f"x{n}", f"203.0.113.{n}") for n in range(20))) == 1
    with pytest.raises(LockedOut) as refused:
        a_try().begin()
    assert refused.value.seconds <= 6
    a_try().succeeded()
    assert "password_tries_unknown" in caplog.text
