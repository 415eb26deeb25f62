"""Which pictures a page may show: the Content-Security-Policy says so."""

import pytest
from pytest_django import Settings

from accounts.pictures import first_allowed, is_allowed


@pytest.fixture(autouse=True)
def policy(settings: Settings) -> None:
    sources = ["'self'", "https://*.scdn.co", "http://127.0.0.1:8090"]
    settings.CONTENT_SECURITY_POLICY = {"DIRECTIVES": {"img-src": sources}}


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("https://i.scdn.co/image/ab67", True),
        ("https://I.SCDN.CO/image/ab67", True),
        ("https://a.b.scdn.co/image/ab67", True),
        ("http://127.0.0.1:8090/pictures/x.svg", True),
        ("https://scdn.co/x", False),  # a wildcard stands for at least one label
        ("https://evilscdn.co/x", False),
        ("https://i.scdn.co.evil.test/x", False),
        ("http://i.scdn.co/x", False),
        ("https://i.scdn.co:8443/x", False),
        ("http://127.0.0.1:9999/x", False),
        ("https://platform-lookaside.fbsbx.com/x", False),
        ("data:image/png;base64,AA", False),
        ("https://i.scdn.co:port/x", False),
        ("https://[::1/x", False),
        ("/image/ab67", False),
        ("", False),
    ],
)
def test_an_address_needs_a_source_of_the_policy(address: str, allowed: bool) -> None:
    assert is_allowed(address) is allowed


def test_the_first_picture_that_is_allowed_is_taken() -> None:
    good = "https://i.scdn.co/image/ab67"
    images = [None, "x", {"url": None}, {"url": "https://fbsbx.com/1"}, {"url": good}]

    assert first_allowed(images) == good
    assert first_allowed(images[:4]) == ""
