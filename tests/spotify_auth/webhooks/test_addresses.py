"""Webhooks lead nowhere inside our own network, whatever an address looks like."""

import ipaddress

import pytest
from pytest_django import Settings

from spotify_auth.webhooks import addresses, transport
from spotify_auth.webhooks.addresses import BadAddress
from tests.support.receiver import receiving


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",  # where clouds keep credentials
        "192.0.0.192",  # and Oracle's
        "168.63.129.16",  # and Azure's, behind a public number
        "::ffff:168.63.129.16",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fd00:ec2::254",
        "fec0::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a9fe:a9fe",  # 169.254.169.254 behind NAT64
        "2002:7f00:1::",  # 127.0.0.1 by 6to4
        "ff02::1",
    ],
)
def test_private_addresses_are_refused_unless_a_setting_has_them(
    address: str, settings: Settings
) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = ""
    assert not addresses.is_allowed(ipaddress.ip_address(address))

    settings.WEBHOOK_ALLOWED_NETWORKS = ["0.0.0.0/0", "::/0"]
    assert addresses.is_allowed(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "64:ff9b::808:808"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert addresses.is_allowed(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://example.com/hook", "by https"),
        ("ftp://example.com/hook", "begins with https"),
        ("https:///hook", "and a host"),
        ("https://user@example.com/", "no user"),
        ("https://example.com/#part", "no fragment"),
        ("https://*.example.com/", "no host"),
        ("https://a%b.example.com/", "no host"),
        ("https://<b>/", "no host"),
        ("https://.example.com/", "no host"),
        ("https://example.com:port/", "no address"),
        ("https://exämple.com/", "ASCII"),
        ("https://10.0.0.1/", "not a public address"),
        ("https://[::ffff:127.0.0.1]/", "not a public address"),
        ("http://127.0.0.1/", "not a public address"),
        ("http://localhost/", "by https"),
    ],
)
def test_says_what_is_wrong_with_an_address(url: str, said: str) -> None:
    with pytest.raises(BadAddress, match=said):
        addresses.check(url)


def test_a_name_that_leads_inside_is_refused_when_it_is_connected_to(settings: Settings) -> None:
    """However innocent the name: here one that /etc/hosts or a DNS server sends to loopback."""
    with receiving() as receiver:
        url = receiver.url.replace("127.0.0.1", "localhost")
        settings.WEBHOOK_ALLOWED_NETWORKS = ""
        refused = transport.post(url, b"{}", {})
        assert (refused.status, receiver.received) == (None, [])
        assert "no address that is allowed" in refused.excerpt

        settings.WEBHOOK_ALLOWED_NETWORKS = "127.0.0.0/8"
        assert transport.post(url, b"{}", {}).status == 204
        assert receiver.received[0].headers["host"] == f"localhost:{receiver.server_port}"


def test_a_number_that_a_resolver_takes_for_an_address_is_refused_too() -> None:
    for host in ("2130706433", "0x7f.1", "127.1"):
        assert transport.post(f"https://{host}/", b"{}", {}).excerpt.startswith("Not sent")


@pytest.mark.parametrize("host", ["*.example.com", ".example.com", "%zz"])
def test_what_is_no_host_for_the_client_is_a_failure_like_others(host: str) -> None:
    """A delivery that raised would be due again at each sweep, for ever."""
    url = f"https://{host}/hook"  # as an earlier version may have stored it
    assert transport.post(url, b"{}", {}).excerpt == "No connection, or no HTTP: InvalidURL."
