"""Every fault of the token endpoint and of the Web API, seen from the client's side."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import requests

from spotify_auth.sandbox.faults import Faults
from spotify_auth.sandbox.worlds import World
from tests.support.processes import wait_for
from tests.support.sandbox_client import Sandbox, sent_refresh


@pytest.fixture
def tokens(sandbox: Sandbox) -> dict[str, Any]:
    """The pair of one connected user."""
    return sandbox.connect(["user-1"])["user-1"]


def rotated(sandbox: Sandbox) -> bool:
    """Whether the one user's pair has moved on."""
    generation: int = sandbox.stats("user-1")["generation"]
    return generation > 1


def held(sandbox: Sandbox) -> int:
    """How many answers are held, asked on a connection of its own."""
    count: int = requests.get(f"{sandbox.url}/__stats", timeout=10).json()["held"]
    return count


def attempted(sandbox: Sandbox) -> int:
    """How many refreshes have come, asked in the same way."""
    stats = requests.get(f"{sandbox.url}/__stats", timeout=10).json()
    return int(stats["totals"]["refreshes_attempted"])


def seconds_taken(refresh: Callable[[], object]) -> float:
    started = time.monotonic()
    refresh()
    return time.monotonic() - started


@pytest.mark.parametrize("fault", ["latency", "latency_after_rotating"])
def test_a_late_answer_is_a_good_answer(
    sandbox: Sandbox, tokens: dict[str, Any], fault: str
) -> None:
    sandbox.faults(fault, seconds=0.2)

    assert seconds_taken(lambda: sandbox.refresh(tokens["refresh_token"])) >= 0.2
    assert rotated(sandbox)


def test_a_latency_varies_by_its_jitter() -> None:
    fault = Faults().program(
        "latency", {"seconds": 2, "jitter": 0.5}, users=None, times=None, share=1
    )

    delays = [fault.delay() for _ in range(1000)]

    assert 1 <= min(delays) < 1.1
    assert 2.9 < max(delays) <= 3


@pytest.mark.parametrize(
    ("fault", "rotated_early"),
    [
        ({"fault": "latency", "seconds": 60}, False),
        ({"fault": "latency_after_rotating", "seconds": 60}, True),
        ({"fault": "hold", "when": "before"}, False),
        ({"fault": "hold", "when": "after"}, True),
        ({"fault": "hold"}, True),
    ],
)
def test_late_faults_strike_before_or_after_the_rotation(
    sandbox: Sandbox, tokens: dict[str, Any], fault: dict[str, Any], rotated_early: bool
) -> None:
    sandbox.faults(**fault)
    with sent_refresh(sandbox, tokens["refresh_token"]):
        wait_for(lambda: attempted(sandbox) == 1, what="the refresh", every=0.01)

        assert rotated(sandbox) is rotated_early


@pytest.mark.parametrize("let_go", [Sandbox.release, Sandbox.clear, Sandbox.reset])
def test_a_held_answer_comes_when_it_is_let_go(
    sandbox: Sandbox, tokens: dict[str, Any], let_go: Callable[[Sandbox], object]
) -> None:
    sandbox.faults("hold", times=1)
    with ThreadPoolExecutor(1) as pool:
        answer: Future[requests.Response] = pool.submit(sandbox.refresh, tokens["refresh_token"])
        wait_for(lambda: held(sandbox) == 1, what="the answer", every=0.01)
        assert not answer.done()
        let_go(sandbox)

        assert answer.result().status_code == 200


def test_releasing_says_how_many_were_held(sandbox: Sandbox) -> None:
    assert sandbox.release() == 0


def test_a_lost_answer_has_rotated(sandbox: Sandbox, tokens: dict[str, Any]) -> None:
    sandbox.faults("answer_lost", times=1)
    with pytest.raises(requests.ConnectionError):
        sandbox.refresh(tokens["refresh_token"])

    assert rotated(sandbox)
    assert sandbox.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"


def test_a_reset_connection_has_not(sandbox: Sandbox, tokens: dict[str, Any]) -> None:
    sandbox.faults("connection_reset", times=1)
    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        sandbox.refresh(tokens["refresh_token"])

    assert not rotated(sandbox)
    assert sandbox.refresh(tokens["refresh_token"]).status_code == 200


def test_an_answer_can_be_lost_at_login_too(sandbox: Sandbox) -> None:
    sandbox.faults("answer_lost")
    with pytest.raises(requests.ConnectionError):
        sandbox.token(grant_type="authorization_code", code="x", redirect_uri="y")


@pytest.mark.parametrize(
    ("parameters", "header"),
    [
        ({}, "1"),
        ({"retry_after": "79892"}, "79892"),
        ({"retry_after": "0"}, "0"),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:00 GMT"}, "Wed, 21 Oct 2026 07:28:00 GMT"),
        ({"retry_after": None}, None),
    ],
)
def test_rate_limited(
    sandbox: Sandbox, tokens: dict[str, Any], parameters: dict[str, Any], header: str | None
) -> None:
    sandbox.faults("rate_limited", **parameters)
    response = sandbox.refresh(tokens["refresh_token"])

    assert response.status_code == 429
    assert response.headers.get("Retry-After") == header
    assert response.json() == {"error": {"status": 429, "message": "API rate limit exceeded"}}
    assert not rotated(sandbox)


@pytest.mark.parametrize(("parameters", "status"), [({}, 503), ({"status": 502}, 502)])
def test_unavailable(
    sandbox: Sandbox, tokens: dict[str, Any], parameters: dict[str, Any], status: int
) -> None:
    sandbox.faults("unavailable", **parameters)
    response = sandbox.refresh(tokens["refresh_token"])

    assert response.status_code == status
    assert response.headers["Content-Type"].startswith("text/html")
    assert "upstream connect error" in response.text
    assert not rotated(sandbox)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, (200, "application/json", "<!doctype html><title>Oops</title>")),
        ({"body": '{"access_token": 7}'}, (200, "application/json", '{"access_token": 7}')),
        ({"body": "", "status": 500, "content_type": "text/plain"}, (500, "text/plain", "")),
    ],
)
def test_garbage(
    sandbox: Sandbox,
    tokens: dict[str, Any],
    parameters: dict[str, Any],
    expected: tuple[int, str, str],
) -> None:
    sandbox.faults("garbage", **parameters)
    response = sandbox.refresh(tokens["refresh_token"])

    seen = (response.status_code, response.headers["Content-Type"], response.text)
    assert seen == expected
    assert not rotated(sandbox)


@pytest.mark.parametrize(
    ("parameters", "status", "body"),
    [
        ({}, 400, {"error": "invalid_client", "error_description": "Invalid client secret"}),
        ({"status": 401, "error_description": None}, 401, {"error": "invalid_client"}),
    ],
)
def test_invalid_client(
    sandbox: Sandbox,
    tokens: dict[str, Any],
    parameters: dict[str, Any],
    status: int,
    body: dict[str, str],
) -> None:
    sandbox.faults("invalid_client", **parameters)
    response = sandbox.refresh(tokens["refresh_token"])

    assert (response.status_code, response.json()) == (status, body)
    assert not rotated(sandbox)


@pytest.mark.parametrize(
    ("parameters", "body"),
    [
        ({}, {"error": "invalid_grant", "error_description": "Refresh token revoked"}),
        ({"error_description": None}, {"error": "invalid_grant"}),
    ],
)
def test_a_false_invalid_grant_kills_nothing(
    sandbox: Sandbox, tokens: dict[str, Any], parameters: dict[str, Any], body: dict[str, str]
) -> None:
    sandbox.faults("false_invalid_grant", **parameters)
    response = sandbox.refresh(tokens["refresh_token"])
    sandbox.clear()

    assert (response.status_code, response.json()) == (400, body)
    assert sandbox.stats("user-1")["invalid_grants"] == 1
    assert sandbox.refresh(tokens["refresh_token"]).status_code == 200


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_fault_can_strike_a_share_of_the_answers(
    sandbox: Sandbox, tokens: dict[str, Any], share: float
) -> None:
    sandbox.faults("no_rotation")

    def refused() -> list[bool]:
        sandbox.faults("false_invalid_grant", share=share)
        answers = [sandbox.refresh(tokens["refresh_token"]).status_code for _ in range(200)]
        sandbox.clear()
        sandbox.faults("no_rotation")
        return [status == 400 for status in answers]

    first = refused()

    assert sum(first) / 200 == pytest.approx(share, abs=0.08)
    assert refused() == first  # the same in each run


def test_without_rotation_the_refresh_token_stays(sandbox: Sandbox, tokens: dict[str, Any]) -> None:
    sandbox.faults("no_rotation")
    answers = [sandbox.refresh(tokens["refresh_token"]).json() for _ in range(3)]

    assert all("refresh_token" not in answer for answer in answers)
    assert len({answer["access_token"] for answer in answers}) == 3
    assert sandbox.stats("user-1")["generation"] == 4


def test_rotation_can_come_back(sandbox: Sandbox, tokens: dict[str, Any]) -> None:
    sandbox.faults("no_rotation", times=1)
    sandbox.refresh(tokens["refresh_token"])
    new = sandbox.refresh(tokens["refresh_token"]).json()["refresh_token"]

    assert sandbox.refresh(tokens["refresh_token"]).status_code == 400
    assert sandbox.refresh(new).status_code == 200


def test_rotation_can_come_for_one_user_where_there_is_none(sandbox: Sandbox) -> None:
    sandbox.reset(World.SPOTIFY_2026)
    sandbox.faults("rotation", users=["user-1"])
    tokens = {
        name: answer["refresh_token"]
        for name, answer in sandbox.connect(["user-1", "user-2"]).items()
    }
    new = sandbox.refresh(tokens["user-1"]).json()["refresh_token"]

    assert "refresh_token" not in sandbox.refresh(tokens["user-2"]).json()
    assert sandbox.refresh(tokens["user-1"]).json()["error"] == "invalid_grant"
    assert sandbox.refresh(new).status_code == 200


def test_the_scope_of_a_refresh_can_be_blank(sandbox: Sandbox, tokens: dict[str, Any]) -> None:
    sandbox.faults("blank_scope", times=1)
    blank = sandbox.refresh(tokens["refresh_token"]).json()

    assert blank["scope"] == ""
    assert sandbox.refresh(blank["refresh_token"]).json()["scope"] == tokens["scope"]


def test_reuse_can_revoke_the_whole_grant(sandbox: Sandbox, tokens: dict[str, Any]) -> None:
    sandbox.faults("reuse_revokes_grant")
    new = sandbox.refresh(tokens["refresh_token"]).json()
    sandbox.refresh(tokens["refresh_token"])

    assert sandbox.refresh(new["refresh_token"]).json()["error"] == "invalid_grant"
    assert sandbox.get("/v1/me", new["access_token"]).status_code == 401


def test_the_old_access_token_can_die_at_rotation(sandbox: Sandbox, tokens: dict[str, Any]) -> None:
    sandbox.faults("old_access_token_dies")
    new = sandbox.refresh(tokens["refresh_token"]).json()

    assert sandbox.get("/v1/me", tokens["access_token"]).status_code == 401
    assert sandbox.get("/v1/me", new["access_token"]).status_code == 200


def test_within_a_grace_window_the_old_refresh_token_gives_a_new_pair(
    sandbox: Sandbox, tokens: dict[str, Any]
) -> None:
    sandbox.faults("grace_window", seconds=30)
    lost = sandbox.refresh(tokens["refresh_token"]).json()
    again = sandbox.refresh(tokens["refresh_token"]).json()

    assert again["refresh_token"] not in {lost["refresh_token"], tokens["refresh_token"]}
    assert sandbox.refresh(again["refresh_token"]).status_code == 200
    assert sandbox.stats("user-1")["reuses_of_dead_token"] == 0


def test_after_the_grace_window_the_old_refresh_token_is_dead(
    sandbox: Sandbox, tokens: dict[str, Any]
) -> None:
    sandbox.faults("grace_window", seconds=0.1)
    sandbox.refresh(tokens["refresh_token"])
    time.sleep(0.15)

    assert sandbox.refresh(tokens["refresh_token"]).status_code == 400
    assert sandbox.stats("user-1")["reuses_of_dead_token"] == 1


def test_no_grace_for_a_token_replaced_long_ago(sandbox: Sandbox, tokens: dict[str, Any]) -> None:
    sandbox.faults("grace_window", seconds=30)
    token = tokens["refresh_token"]
    for _ in range(40):
        token = sandbox.refresh(token).json()["refresh_token"]

    assert sandbox.refresh(tokens["refresh_token"]).status_code == 400


@pytest.mark.parametrize(("rotate", "status"), [(True, 200), (False, 503)])
@pytest.mark.parametrize("headers", [True, False])
def test_a_dripped_answer_is_whole_in_the_end(
    sandbox: Sandbox, tokens: dict[str, Any], rotate: bool, status: int, headers: bool
) -> None:
    sandbox.faults("slow_drip", interval=0.0001, rotate=rotate, headers=headers)
    response = sandbox.refresh(tokens["refresh_token"])

    assert response.status_code == status
    assert ("refresh_token" in response.text) is rotate
    assert rotated(sandbox) is rotate


def test_dripped_headers_outwait_a_read_timeout(sandbox: Sandbox, tokens: dict[str, Any]) -> None:
    sandbox.faults("slow_drip", interval=0.005, rotate=True)

    # About 200 bytes of headers at 5 ms each, though no byte is late.
    with sent_refresh(sandbox, tokens["refresh_token"]) as connection:
        assert seconds_taken(connection.getresponse) > 0.5


def test_dripping_can_spare_the_headers(sandbox: Sandbox, tokens: dict[str, Any]) -> None:
    sandbox.faults("slow_drip", interval=60, rotate=True, headers=False)
    with sent_refresh(sandbox, tokens["refresh_token"]) as connection:
        stream = connection.sock
        response = connection.getresponse()  # dripped, they would take hours
        stream.settimeout(0.2)

        with pytest.raises(TimeoutError):
            response.read()


def test_dripping_ends_when_the_client_leaves(sandbox: Sandbox, tokens: dict[str, Any]) -> None:
    sandbox.faults("slow_drip", interval=0.02)
    with sent_refresh(sandbox, tokens["refresh_token"]):
        wait_for(lambda: attempted(sandbox) == 1, what="the refresh", every=0.01)

    wait_for(lambda: sandbox.stats()["in_flight"] == 0, what="the end", every=0.01)


def test_a_fault_strikes_as_often_as_it_was_told(sandbox: Sandbox, tokens: dict[str, Any]) -> None:
    sandbox.faults("unavailable", times=2)
    statuses = [sandbox.refresh(tokens["refresh_token"]).status_code for _ in range(3)]

    assert statuses == [503, 503, 200]
    assert sandbox.list_faults() == []


def test_a_fault_strikes_only_the_users_it_names(sandbox: Sandbox) -> None:
    answers = sandbox.connect(["user-1", "user-2"])
    sandbox.faults("unavailable", users=["user-1"])

    assert sandbox.refresh(answers["user-1"]["refresh_token"]).status_code == 503
    assert sandbox.refresh(answers["user-2"]["refresh_token"]).status_code == 200
    assert sandbox.refresh("garbage").status_code == 400


def test_faults_can_be_combined(sandbox: Sandbox, tokens: dict[str, Any]) -> None:
    sandbox.faults("no_rotation")
    sandbox.faults("old_access_token_dies")
    sandbox.faults("latency", seconds=0.2)

    assert seconds_taken(lambda: sandbox.refresh(tokens["refresh_token"])) >= 0.2
    assert sandbox.get("/v1/me", tokens["access_token"]).status_code == 401
    assert sandbox.refresh(tokens["refresh_token"]).status_code == 200


@pytest.mark.parametrize(
    ("parameters", "status", "message", "retry_after"),
    [
        ({}, 503, "Service unavailable", None),
        ({"status": 401, "message": "Invalid access token"}, 401, "Invalid access token", None),
        (
            {"status": 429, "message": "API rate limit exceeded", "retry_after": "81654"},
            429,
            "API rate limit exceeded",
            "81654",
        ),
    ],
)
def test_web_api_error(
    sandbox: Sandbox,
    tokens: dict[str, Any],
    parameters: dict[str, Any],
    status: int,
    message: str,
    retry_after: str | None,
) -> None:
    sandbox.faults("web_api_error", **parameters)
    response = sandbox.get("/v1/me", tokens["access_token"])

    assert response.status_code == status
    assert response.json() == {"error": {"status": status, "message": message}}
    assert response.headers.get("Retry-After") == retry_after
    assert sandbox.stats("user-1")["web_api_unauthorized"] == (status == 401)


def test_a_web_api_error_can_be_bare_words(sandbox: Sandbox, tokens: dict[str, Any]) -> None:
    sandbox.faults("web_api_error", status=403, message="User not registered", plain=True)

    assert sandbox.get("/v1/me", tokens["access_token"]).text == "User not registered"


def test_web_api_latency(sandbox: Sandbox, tokens: dict[str, Any]) -> None:
    sandbox.faults("web_api_latency", seconds=0.2)

    assert seconds_taken(lambda: sandbox.get("/v1/me", tokens["access_token"])) >= 0.2


def test_web_api_faults_can_be_bound_to_a_path(sandbox: Sandbox, tokens: dict[str, Any]) -> None:
    sandbox.faults("web_api_error", path="/v1/me/top", times=1)
    access_token = tokens["access_token"]

    assert sandbox.get("/v1/me", access_token).status_code == 200
    assert sandbox.get("/v1/me/top/tracks", access_token).status_code == 503
    assert sandbox.get("/v1/me/top/tracks", access_token).status_code == 200
