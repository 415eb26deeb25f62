"""The id of a request: from a proxy of ours, in a harmless form, or made."""

import re

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from pytest_django.fixtures import Settings

from config import log_context
from config.request_id import RequestIdMiddleware
from spotify_auth.database_fault_pages import server_error

PROXY, STRANGER = "10.0.0.7", "198.51.100.4"
MADE = re.compile(r"[0-9a-f]{32}")


def answer_to(sent: str, peer: str = PROXY) -> str:
    """The id in the header of the answer."""
    seen: list[str] = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.extend([request.id, log_context.current()["request_id"]])  # type: ignore[attr-defined]
        return HttpResponse()

    request = RequestFactory().get("/", headers={"X-Request-ID": sent}, REMOTE_ADDR=peer)
    given = RequestIdMiddleware(view)(request).headers["X-Request-ID"]
    assert seen == [given, given]
    return given


@pytest.fixture(autouse=True)
def _proxies(settings: Settings) -> None:
    settings.TRUSTED_PROXIES = "10.0.0.0/8"


@pytest.mark.parametrize("sent", ["0a1b2c3d4e5f60718293a4b5c6d7e8f9", "a.B-c_9x", "r" * 64])
def test_a_proxy_of_ours_gives_the_id(sent: str) -> None:
    assert answer_to(sent) == sent


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "short",
        "r" * 65,
        "two words of it",
        "newline-in-it\nevent=refreshed",
        "newline-at-its-end\n",
        '"},{"event":"refreshed"',
        "<script>alert(1)</script>",
        "\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668",  # digits, of which none is ASCII
        "caf\u00e9-caf\u00e9",
    ],
)
def test_a_hostile_id_is_replaced(sent: str) -> None:
    assert MADE.fullmatch(answer_to(sent))


def test_a_strangers_id_is_replaced() -> None:
    assert MADE.fullmatch(answer_to("a-good-looking-id", peer=STRANGER))


def test_the_page_of_an_error_names_it() -> None:
    request = RequestFactory().get("/")
    request.id = "0a1b2c3d4e5f"  # type: ignore[attr-defined]

    page = server_error(request)

    assert page.status_code == 500
    assert "tell us this: <code>0a1b2c3d4e5f</code>" in page.content.decode()


def test_two_requests_have_two_ids() -> None:
    ids = {Client().get("/static/none").headers["X-Request-ID"] for _ in range(2)}

    assert len(ids) == 2
