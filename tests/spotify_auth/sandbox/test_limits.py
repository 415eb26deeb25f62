"""Rate limits, as functions of time and over the wire."""

import time
from collections.abc import Callable

import pytest

from spotify_auth.sandbox.limits import HONEST, KINDS, Limiter
from tests.support.sandbox_client import Sandbox


@pytest.mark.parametrize(
    ("kind", "moments", "waits"),
    [
        # Two in a window, whose burst lies at its end; the next window begins at 10.
        ("fixed", [9.0, 9.0, 9.5, 10.0, 10.0, 10.5], [0, 0, 0.5, 0, 0, 9.5]),
        # The first two leave it ten seconds later.
        ("sliding", [9.0, 9.0, 9.5, 10.0, 19.0, 19.1, 19.2], [0, 0, 9.5, 9.0, 0, 0, 9.8]),
        # One more each five seconds, and never more than two.
        ("bucket", [9.0, 9.0, 9.0, 14.0, 15.0, 40.0, 40.0, 40.0], [0, 0, 5, 0, 4, 0, 0, 5]),
    ],
)
def test_two_calls_in_ten_seconds(kind: str, moments: list[float], waits: list[float]) -> None:
    limit = KINDS[kind](2, 10.0)

    assert [limit.take(moment) for moment in moments] == pytest.approx(waits)


@pytest.mark.parametrize("kind", KINDS)
def test_all_callers_share_a_limit_of_the_token_endpoint(sandbox: Sandbox, kind: str) -> None:
    tokens = sandbox.connect(["user-1", "user-2"])
    sandbox.faults("limit", kind=kind, calls=2, seconds=60)

    statuses = [
        sandbox.refresh(token["refresh_token"]).status_code
        for token in (*tokens.values(), *tokens.values())
    ]

    assert statuses == [200, 200, 429, 429]
    assert sandbox.stats()["totals"]["rate_limited"] == 2
    assert sandbox.stats("user-1")["rate_limited"] == 1


@pytest.mark.parametrize(("given", "header"), [("3", "3"), (None, None)])
def test_says_when_to_come_again(sandbox: Sandbox, given: str | None, header: str | None) -> None:
    tokens = sandbox.connect(["user-1"])["user-1"]
    sandbox.faults("limit", calls=1, retry_after=given)
    sandbox.refresh(tokens["refresh_token"])

    refused = sandbox.refresh(tokens["refresh_token"])

    assert refused.headers.get("Retry-After") == header


@pytest.mark.parametrize("kind", KINDS)
def test_an_honest_retry_after_is_kept(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.25
    monkeypatch.setattr(time, "monotonic", lambda: now)
    limiter = Limiter({"kind": kind, "calls": 1, "seconds": 1.5, "retry_after": HONEST})
    assert limiter.refusal() is None
    now += 0.25

    refused = limiter.refusal()

    assert refused
    assert refused.retry_after == "2"  # 1.25 s in whole ones
    now += 2
    assert limiter.refusal() is None


def test_by_default_a_retry_after_is_honest(sandbox: Sandbox) -> None:
    ask = asking(sandbox)
    sandbox.faults("limit", calls=1, seconds=600)
    ask()

    status, retry_after = ask()

    assert status == 429
    assert 300 < int(retry_after) <= 600


def test_a_new_limit_replaces_the_old_one_and_clearing_ends_it(sandbox: Sandbox) -> None:
    ask = asking(sandbox)
    sandbox.faults("limit", calls=1)
    statuses = [ask()[0], ask()[0]]
    sandbox.faults("limit", calls=2)
    statuses += [ask()[0], ask()[0], ask()[0]]
    sandbox.clear()

    assert [*statuses, ask()[0]] == [200, 429, 200, 200, 429, 200]


def test_a_limit_of_the_web_api_may_hold_for_some_addresses(sandbox: Sandbox) -> None:
    token = sandbox.connect(["user-1"])["user-1"]["access_token"]
    sandbox.faults("web_api_limit", calls=1, path="/v1/me/top", retry_after="7")

    answers = [
        sandbox.get(path, token) for path in ("/v1/me", "/v1/me/top/artists", "/v1/me/top/tracks")
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[-1].headers["Retry-After"] == "7"
    assert sandbox.stats()["totals"]["web_api_rate_limited"] == 1


def asking(sandbox: Sandbox) -> Callable[[], tuple[int, str]]:
    """Refreshes one user again and again: each status, and its Retry-After."""
    token = sandbox.connect(["user-1"])["user-1"]["refresh_token"]

    def ask() -> tuple[int, str]:
        nonlocal token
        answer = sandbox.refresh(token)
        token = answer.json().get("refresh_token", token)
        return answer.status_code, answer.headers.get("Retry-After", "")

    return ask
