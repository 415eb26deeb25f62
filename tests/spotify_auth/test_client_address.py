"""The client's address: what a visitor writes into X-Forwarded-For counts for nothing."""

import pytest
from django.test import RequestFactory
from pytest_django.fixtures import Settings

from spotify_auth.client_address import address_group, as_written, client_address

PROXY = "10.0.0.7"
CLIENT = "198.51.100.4"
SPOOFED = "203.0.113.9"


def address_of(peer: str, forwarded: str | None = None) -> str:
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    return client_address(RequestFactory().get("/", headers=headers, REMOTE_ADDR=peer))


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "found"),
    [
        # Nobody is trusted unless a setting says so.
        ("0", CLIENT, None, CLIENT),
        ("0", CLIENT, SPOOFED, CLIENT),
        ("", CLIENT, SPOOFED, CLIENT),
        # A proxy by its network.
        ("10.0.0.0/8", PROXY, CLIENT, CLIENT),
        ("10.0.0.0/8", CLIENT, SPOOFED, CLIENT),  # past the proxy
        ("10.0.0.0/8", PROXY, f"{SPOOFED}, {CLIENT}", CLIENT),
        ("10.0.0.0/8", PROXY, f"{SPOOFED},10.9.9.9,{CLIENT}", CLIENT),  # our own network, spoofed
        ("10.0.0.0/8", PROXY, f"{SPOOFED}, {CLIENT}, 10.0.0.8", CLIENT),  # two proxies
        ("10.0.0.0/8", PROXY, None, PROXY),  # the proxy's own request: a health check
        ("10.0.0.0/8", PROXY, "10.1.1.1", "10.1.1.1"),  # a client of the network itself
        ("127.0.0.1, ::1, 10.0.0.0/8", "::1", f"{CLIENT}, {PROXY}", CLIENT),
        # Proxies by their number.
        ("1", PROXY, f"{SPOOFED}, {CLIENT}", CLIENT),
        ("2", PROXY, f"{SPOOFED}, {CLIENT}, 10.0.0.8", CLIENT),
        ("2", PROXY, CLIENT, CLIENT),  # came by the inner one alone
        # IPv6, ports, and IPv4 written as IPv6.
        ("10.0.0.0/8", f"::ffff:{PROXY}", f"::ffff:{CLIENT}", CLIENT),
        ("fd00::/8", "fd00::1", "2001:0DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("1", PROXY, "[2001:db8::1]:4711", "2001:db8::1"),
        ("1", PROXY, f"{CLIENT}:4711", CLIENT),
        ("1", PROXY, "fe80::1%eth0", "fe80::1"),
        # Garbage that a proxy passed on: the nearest address that is known.
        ("1", PROXY, "unknown", PROXY),
        ("1", PROXY, "_hidden", PROXY),
        ("1", PROXY, "", PROXY),
        ("1", PROXY, f"{CLIENT}, ", PROXY),
        ("1", PROXY, "fe80::1%\r\nlogin user_id=1", "fe80::1"),
        ("1", PROXY, "127.1", PROXY),
        ("10.0.0.0/8", PROXY, f"{CLIENT}, junk, 10.0.0.8", "10.0.0.8"),
        # A Unix socket has no address.
        ("1", "", CLIENT, CLIENT),
        ("127.0.0.1", "", f"{SPOOFED}, {CLIENT}", CLIENT),
        ("0", "", SPOOFED, "unknown"),
        ("1", "", None, "unknown"),
    ],
)
def test_the_right_most_address_that_is_no_proxy_of_ours(
    settings: Settings, trusted: str, peer: str, forwarded: str | None, found: str
) -> None:
    settings.TRUSTED_PROXIES = trusted

    assert address_of(peer, forwarded) == found


def test_a_project_may_write_a_number_or_a_list(settings: Settings) -> None:
    settings.TRUSTED_PROXIES = 1
    assert address_of(PROXY, f"{SPOOFED}, {CLIENT}") == CLIENT

    settings.TRUSTED_PROXIES = ["127.0.0.1", "10.0.0.0/8"]
    assert address_of(PROXY, f"{SPOOFED}, {CLIENT}") == CLIENT


def test_an_endless_list_is_not_read_to_its_end(settings: Settings) -> None:
    settings.TRUSTED_PROXIES = "10.0.0.0/8"

    assert address_of(PROXY, f"{CLIENT}," + "10.0.0.8," * 5000 + "10.0.0.9") == "10.0.0.8"


@pytest.mark.parametrize("raw", ["all", "-1", "11", "0.0.0.0/0", "::/0", "10.0.0.1/8", "1, 2, x"])
def test_what_names_no_proxies_is_refused(raw: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (ipaddress has its own words)
        as_written(raw)


@pytest.mark.parametrize(
    ("address", "group"),
    [
        (CLIENT, CLIENT),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::99", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
    ],
)
def test_addresses_that_one_client_chooses_from_are_one_group(address: str, group: str) -> None:
    assert address_group(address) == group
