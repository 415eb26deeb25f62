"""Hosts that are reached without crossing a network of strangers."""

import pytest

from spotify_auth.hosts import is_loopback, is_private


@pytest.mark.parametrize(
    ("host", "loopback", "private"),
    [
        ("localhost", True, True),
        ("127.0.0.1", True, True),
        ("::1", True, True),
        ("10.1.2.3", False, True),
        ("192.168.0.9", False, True),
        ("fd00::1", False, True),
        ("redis", False, True),  # a container, or a name of the own domain
        ("db.corp.internal", False, True),
        ("8.8.8.8", False, False),
        ("2606:4700::1111", False, False),
        ("db.example.com", False, False),
        ("localhost.example.com", False, False),
        ("internal.example.com", False, False),
    ],
)
def test_tells_hosts_apart(host: str, loopback: bool, private: bool) -> None:
    assert (is_loopback(host), is_private(host)) == (loopback, private)
