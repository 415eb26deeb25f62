"""The doctor asks Spotify: each way in which it may go wrong has its own sentence."""

import re
import socket
from typing import Any

import pytest
from pytest_django import Settings

from dev.process import free_port
from tests.support.doctor import diagnose, doctor
from tests.support.sandbox_client import Sandbox


def test_right_credentials_and_a_right_clock(spotify: Sandbox) -> None:
    said = diagnose("credentials", "clock")

    assert (said.bad, said.code) == ([], 0)
    assert spotify.stats()["totals"]["refreshes_attempted"] == 0


def test_a_wrong_client_secret(
    spotify: Sandbox, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.SPOTIFY_CLIENT_SECRET = "a-secret-of-another-app"

    said = diagnose("credentials")

    words = 'Spotify refuses the client credentials (invalid_client "Invalid client secret").'
    assert (said.bad, said.code) == ([("problem", words)], 1)
    assert "a-secret-of-another-app" not in caplog.text


PAUSED = "Spotify knows the credentials, and serves this app no longer (http_403)."


@pytest.mark.parametrize(
    ("fault", "level", "words"),
    [
        ({"fault": "unavailable", "status": 403}, "problem", PAUSED),
        ({"fault": "unavailable", "status": 503}, "problem", "answers 503 instead of a token."),
        ({"fault": "rate_limited"}, "warning", "Spotify limits this application (429)."),
        ({"fault": "garbage"}, "problem", "but not as Spotify does (answer_without_access_token)."),
        ({"fault": "connection_reset"}, "problem", "is not reached (connection_cut)."),
    ],
)
def test_each_answer_has_its_own_sentence(
    spotify: Sandbox, fault: dict[str, Any], level: str, words: str
) -> None:
    spotify.faults(**fault)

    ((found, sentence),) = diagnose("credentials").bad

    assert (found, sentence[-len(words) :]) == (level, words)


def test_nobody_listens(spotify: Sandbox, settings: Settings) -> None:
    settings.SPOTIFY_ACCOUNTS_URL = url = f"http://127.0.0.1:{free_port()}"

    assert diagnose("credentials", "clock").bad == [
        ("problem", f"{url} is not reached (connection_refused)."),
        ("problem", f"{url} is not reached (ConnectionError)."),
    ]


def test_a_server_that_never_answers(no_cooldown: None, settings: Settings) -> None:
    settings.TOKEN_ENDPOINT_DEADLINE_SECONDS = 1.5  # of which half is for the connection
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings.SPOTIFY_ACCOUNTS_URL = url = f"http://127.0.0.1:{listener.getsockname()[1]}"

        ((level, found),) = diagnose("credentials").bad

    assert (level, found) == (
        "problem",
        f"{url} took the request, and did not answer within 1.5 s.",
    )


def test_another_clock_than_ours(spotify: Sandbox) -> None:
    spotify.faults("clock_ahead", seconds=300)

    ((level, found),) = diagnose("clock").bad

    behind = re.match(r"This host's clock is (\d+) s behind", found)
    assert behind
    assert level == "warning"
    assert int(behind[1]) == pytest.approx(300, abs=10)


def test_offline_it_asks_nothing(spotify: Sandbox, settings: Settings) -> None:
    settings.SPOTIFY_ACCOUNTS_URL = f"http://127.0.0.1:{free_port()}"

    chosen = ("credentials", "clock", "site")
    said = doctor("--json", "--offline", *(word for name in chosen for word in ("--only", name)))

    assert ({each["check"] for each in said.findings}, said.code) == ({"site"}, 0)
