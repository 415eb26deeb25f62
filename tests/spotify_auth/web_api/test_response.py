"""Reading an answer of the Web API: its JSON, nothing, or Unavailable. Over a real socket."""

from collections.abc import Iterator

import pytest
import requests
from pytest_django import Settings

from accounts.models import User
from spotify_auth import web_api
from tests.support.sandbox_client import Sandbox
from tests.support.servers import serving
from tests.support.tokens import Connect

pytestmark = pytest.mark.django_db


@pytest.fixture
def user(connect: Connect) -> User:
    return connect(due=False)


@pytest.mark.parametrize(
    ("status", "body"),
    [(204, ""), (200, ""), (202, ""), (200, " \r\n"), (200, "null"), (202, "null")],
)
def test_nothing_is_none_through_both_doors(
    user: User, spotify: Sandbox, status: int, body: str
) -> None:
    spotify.faults("web_api_error", status=status, message=body, plain=True)

    assert web_api.session_for(user).get("/me").json() is None
    assert web_api.get_all(user, {"me": ("/me", {})}) == {"me": None}


@pytest.mark.parametrize("body", ["<html>oops</html>", "{", "[" * 100_000, "\x00"])
def test_what_is_no_json_is_unavailable_through_both_doors(
    user: User, spotify: Sandbox, body: str
) -> None:
    spotify.faults("web_api_error", status=200, message=body, plain=True)
    answer = web_api.session_for(user).get("/me")

    with pytest.raises(web_api.Unavailable):
        answer.json()

    assert answer.text == body  # what came can still be looked at
    assert isinstance(web_api.get_all(user, {"me": ("/me", {})})["me"], web_api.Unavailable)


def test_a_list_is_an_answer(user: User, spotify: Sandbox) -> None:
    spotify.faults("web_api_error", status=200, message="[true, false]", plain=True)

    assert web_api.session_for(user).get("/me/tracks/contains").json() == [True, False]


def test_an_answer_that_is_cut_short_while_it_is_streamed_is_unavailable(
    user: User, settings: Settings
) -> None:
    def cut() -> Iterator[bytes]:
        yield b"{"

    with serving(headers={"Content-Length": "1000"}, body=cut) as server:
        settings.SPOTIFY_API_URL = server.url
        with web_api.session_for(user).post("/me", data="", stream=True) as answer:
            assert isinstance(answer, requests.Response)
            with pytest.raises(web_api.Unavailable):
                answer.json()
