"""The control plane: faults are programmed strictly, actions act, counts are right."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import requests

from spotify_auth.sandbox.state import digest_of
from tests.support.processes import wait_for
from tests.support.sandbox_client import SCOPES, Sandbox, SandboxError, sent_refresh


def post(sandbox: Sandbox, path: str, body: object) -> tuple[int, Any]:
    data = body if isinstance(body, str) else json.dumps(body)
    response = requests.post(f"{sandbox.url}{path}", data=data, timeout=10)
    return response.status_code, response.json()


def get_stats(sandbox: Sandbox) -> dict[str, Any]:
    """The counts, asked on a connection of its own."""
    stats: dict[str, Any] = requests.get(f"{sandbox.url}/__stats", timeout=10).json()
    return stats


@pytest.mark.parametrize(
    ("path", "body", "complaint"),
    [
        ("/__faults", "{", "the body must be JSON"),
        ("/__faults", "[]", "the body must be a JSON object"),
        ("/__faults", "", '"fault" must be the name of a fault'),
        ("/__faults", {"fault": 7}, '"fault" must be the name of a fault'),
        ("/__faults", {"fault": "gremlins"}, "unknown fault 'gremlins'; known: answer_lost, "),
        ("/__faults", {"fault": "latency"}, "latency needs 'seconds': a number of seconds"),
        ("/__faults", {"fault": "latency", "seconds": "1"}, "latency: 'seconds' must be a number"),
        ("/__faults", {"fault": "latency", "seconds": -1}, "latency: 'seconds' must be a number"),
        ("/__faults", {"fault": "latency", "seconds": True}, "latency: 'seconds' must be a number"),
        ("/__faults", {"fault": "latency", "seconds": 1, "jitter": 1.1}, "latency: 'jitter' must"),
        ("/__faults", {"fault": "answer_lost", "seconds": 1}, "answer_lost has no parameter 'sec"),
        ("/__faults", {"fault": "hold", "when": "never"}, "hold: 'when' must be \"before\" or"),
        ("/__faults", {"fault": "slow_drip", "rotate": 1}, "slow_drip: 'rotate' must be true or"),
        ("/__faults", {"fault": "rate_limited", "retry_after": 3}, "rate_limited: 'retry_after'"),
        ("/__faults", {"fault": "limit"}, "limit needs 'calls': a whole number from 1"),
        (
            "/__faults",
            {"fault": "limit", "calls": 1, "kind": []},
            "limit: 'kind' must be \"fixed\"",
        ),
        ("/__faults", {"fault": "limit", "calls": 1, "seconds": 0}, "limit: 'seconds' must be a"),
        ("/__faults", {"fault": "unavailable", "status": 99}, "unavailable: 'status' must be an"),
        ("/__faults", {"fault": "garbage", "body": None}, "garbage: 'body' must be a string"),
        ("/__faults", {"fault": "answer_lost", "times": 0}, '"times" must be a whole number'),
        ("/__faults", {"fault": "answer_lost", "times": True}, '"times" must be a whole number'),
        ("/__faults", {"fault": "answer_lost", "share": 0}, '"share" must be a number above 0'),
        ("/__faults", {"fault": "answer_lost", "share": 1.1}, '"share" must be a number above 0'),
        ("/__faults", {"fault": "answer_lost", "share": True}, '"share" must be a number above'),
        ("/__faults", {"fault": "answer_lost", "users": "a"}, '"users" must be a list of persona'),
        ("/__faults", {"fault": "answer_lost", "users": [1]}, '"users" must be a list of persona'),
        ("/__faults", {"fault": "answer_lost", "users": ["bob"]}, "no such user: 'bob'"),
        ("/__faults", {"fault": "revoke", "times": 2}, "unknown parameters: times"),
        ("/__revoke", {"users": ["bob"]}, "no such user: 'bob'"),
        ("/__revoke", {"access_tokens": "yes"}, "access_tokens must be true or false"),
        ("/__revoke", {"user": ["listener"]}, "unknown parameters: user"),
        ("/__expire_access_tokens", {"access_tokens": True}, "unknown parameters: access_tokens"),
        ("/__connect", {}, '"users" must name at least one user'),
        ("/__connect", {"users": []}, '"users" must name at least one user'),
        ("/__connect", {"users": ["user-1"], "scope": "fly"}, '"scope" must be a string of known'),
        ("/__connect", {"users": ["user-1"], "scope": None}, '"scope" must be a string of known'),
        ("/__connect", {"users": ["user-1"], "times": 3}, "unknown parameters: times"),
    ],
)
def test_refuses_requests_that_make_no_sense(
    sandbox: Sandbox, path: str, body: object, complaint: str
) -> None:
    status, answer = post(sandbox, path, body)

    assert status == 400
    assert answer["error"].startswith(complaint)


def test_a_refused_fault_is_not_in_force(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxError):
        sandbox.faults("latency", seconds="soon")

    assert sandbox.list_faults() == []


def test_lists_the_faults_in_force_with_their_defaults(sandbox: Sandbox) -> None:
    sandbox.faults("answer_lost", users=["user-2", "user-1"], times=3)
    sandbox.faults("slow_drip")

    assert sandbox.list_faults() == [
        {"fault": "answer_lost", "users": ["user-1", "user-2"], "times_left": 3, "share": 1.0},
        {
            "fault": "slow_drip",
            "users": None,
            "times_left": None,
            "share": 1.0,
            "interval": 0.5,
            "rotate": False,
            "headers": True,
        },
    ]


def test_users_can_be_named_by_their_account_id(sandbox: Sandbox) -> None:
    account_id = sandbox.connect(["user-1"])["user-1"]["account_id"]

    assert sandbox.faults("answer_lost", users=[account_id])["users"] == ["user-1"]


def test_clearing_leaves_no_faults(sandbox: Sandbox) -> None:
    sandbox.faults("answer_lost")
    sandbox.clear()

    assert sandbox.list_faults() == []


def test_connecting_answers_like_the_token_endpoint(sandbox: Sandbox) -> None:
    answers = sandbox.connect(["user-1", "newcomer"])

    assert list(answers) == ["user-1", "newcomer"]
    assert answers["newcomer"]["display_name"] is None
    answer = answers["user-1"]
    assert (answer["id"], answer["scope"], answer["expires_in"]) == ("user-1", SCOPES, 120)
    assert sandbox.get("/v1/me", answer["access_token"]).json()["id"] == "user-1"
    assert sandbox.refresh(answer["refresh_token"]).status_code == 200


def test_connects_many_users_at_once(sandbox: Sandbox) -> None:
    answers = sandbox.connect([f"user-{number}" for number in range(20_000)])

    assert len({answer["account_id"] for answer in answers.values()}) == 20_000
    assert sandbox.stats()["totals"]["users"] == 20_000


@pytest.mark.parametrize("path", ["/__revoke", "/__faults"])
def test_revoking_kills_refresh_tokens_and_leaves_access_tokens(
    sandbox: Sandbox, path: str
) -> None:
    tokens = sandbox.connect(["user-1", "user-2"])
    post(sandbox, path, {"users": ["user-1"], **({"fault": "revoke"} if "fault" in path else {})})

    assert sandbox.refresh(tokens["user-1"]["refresh_token"]).json() == {
        "error": "invalid_grant",
        "error_description": "Refresh token revoked",
    }
    assert sandbox.get("/v1/me", tokens["user-1"]["access_token"]).status_code == 200
    assert sandbox.refresh(tokens["user-2"]["refresh_token"]).status_code == 200
    assert sandbox.list_faults() == []


def test_revoking_can_kill_access_tokens_too(sandbox: Sandbox) -> None:
    token = sandbox.connect(["user-1"])["user-1"]["access_token"]
    sandbox.revoke("user-1", access_tokens=True)

    assert sandbox.get("/v1/me", token).status_code == 401


def test_revoking_nobody_in_particular_revokes_everybody(sandbox: Sandbox) -> None:
    tokens = sandbox.connect(["user-1", "user-2"])
    sandbox.revoke()

    assert {sandbox.refresh(t["refresh_token"]).status_code for t in tokens.values()} == {400}


def test_a_new_login_works_after_a_revocation(sandbox: Sandbox) -> None:
    sandbox.connect(["user-1"])
    sandbox.revoke("user-1")
    token = sandbox.connect(["user-1"])["user-1"]["refresh_token"]

    assert sandbox.refresh(token).status_code == 200


def test_six_months_can_pass_at_once(sandbox: Sandbox) -> None:
    tokens = sandbox.connect(["user-1", "user-2"])
    sandbox.expire_refresh_token("user-1")

    assert sandbox.refresh(tokens["user-1"]["refresh_token"]).json() == {
        "error": "invalid_grant",
        "error_description": "Refresh token expired",
    }
    assert sandbox.get("/v1/me", tokens["user-1"]["access_token"]).status_code == 200
    assert sandbox.refresh(tokens["user-2"]["refresh_token"]).status_code == 200


def test_access_tokens_can_expire_at_once_and_new_ones_work(sandbox: Sandbox) -> None:
    tokens = sandbox.connect(["user-1"])["user-1"]
    sandbox.expire_access_tokens("user-1")
    response = sandbox.get("/v1/me", tokens["access_token"])
    refreshed = sandbox.refresh(tokens["refresh_token"]).json()["access_token"]

    assert response.json()["error"] == {"status": 401, "message": "The access token expired"}
    assert sandbox.get("/v1/me", refreshed).status_code == 200


def test_resetting_forgets_everything(sandbox: Sandbox) -> None:
    tokens = sandbox.connect(["user-1"])["user-1"]
    sandbox.faults("no_rotation")
    sandbox.reset()

    assert sandbox.list_faults() == []
    assert sandbox.stats()["users"] == {}
    assert sandbox.refresh(tokens["refresh_token"]).json() == {
        "error": "invalid_grant",
        "error_description": "Invalid refresh token",
    }
    assert sandbox.get("/v1/me", tokens["access_token"]).status_code == 401


def test_a_call_that_is_late_takes_no_fault_of_a_later_test(sandbox: Sandbox) -> None:
    tokens = sandbox.connect(["user-1"])["user-1"]
    sandbox.faults("latency", seconds=0.5)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(sandbox.refresh, tokens["refresh_token"])
        # On a machine that looks too late it is over by now, and nothing is shown.
        wait_for(lambda: late.done() or get_stats(sandbox)["in_flight"] == 1, what="it", every=0.01)

        post(sandbox, "/__reset", {})
        post(sandbox, "/__faults", {"fault": "false_invalid_grant", "times": 1})

        assert late.result().status_code == 200
    assert [fault["times_left"] for fault in sandbox.list_faults()] == [1]


def test_counts_everything_that_a_user_did(sandbox: Sandbox) -> None:
    tokens = sandbox.connect(["user-1", "user-2"])["user-1"]
    newest = sandbox.refresh(tokens["refresh_token"]).json()["refresh_token"]
    sandbox.refresh(tokens["refresh_token"])
    sandbox.refresh("garbage")
    sandbox.get("/v1/me", tokens["access_token"])
    sandbox.expire_access_tokens("user-1")
    sandbox.get("/v1/me", tokens["access_token"])
    sandbox.get("/v1/me", "garbage")

    counts = sandbox.stats("user-1")
    (refreshed_at,) = counts.pop("refresh_times")
    assert counts.pop("refresh_token") == digest_of(newest)
    assert 0 <= refreshed_at <= sandbox.stats()["seconds"]
    assert counts == {
        "account_id": tokens["account_id"],
        "generation": 2,
        "logins": 1,
        "refreshes": 1,
        "refreshes_attempted": 2,
        "reuses_of_dead_token": 1,
        "rate_limited": 0,
        "invalid_grants": 1,
        "web_api_calls": 2,
        "web_api_unauthorized": 1,
        "web_api_rate_limited": 0,
        "in_flight_max": 1,
    }
    # What belongs to nobody is in the totals only.
    assert sandbox.stats()["totals"] == {
        "users": 2,
        "logins": 2,
        "refreshes": 1,
        "refreshes_attempted": 3,
        "reuses_of_dead_token": 1,
        "rate_limited": 0,
        "invalid_grants": 2,
        "web_api_calls": 3,
        "web_api_unauthorized": 2,
        "web_api_rate_limited": 0,
        "in_flight_max": 1,
    }


def test_calls_that_wait_for_each_other_let_no_held_exchange_go(sandbox: Sandbox) -> None:
    tokens = sandbox.connect(["user-1"])["user-1"]
    sandbox.faults("hold", times=1)
    sandbox.faults("web_api_together", calls=2)
    with ThreadPoolExecutor(3) as pool:
        exchange = pool.submit(sandbox.refresh, tokens["refresh_token"])
        wait_for(lambda: sandbox.stats()["held"] == 1, what="the exchange to be held")
        calls = [pool.submit(requests.get, f"{sandbox.url}/v1/me", timeout=10) for _ in range(2)]

        assert [call.result().status_code for call in calls] == [401, 401]
        assert sandbox.stats()["held"] == 1
        assert sandbox.release() == 1
        assert exchange.result().status_code == 200


@pytest.mark.parametrize("end", [Sandbox.revoke, Sandbox.expire_refresh_token])
def test_shows_which_refresh_token_works(
    sandbox: Sandbox, end: Callable[[Sandbox, str], None]
) -> None:
    tokens = sandbox.connect(["user-1"])["user-1"]
    assert sandbox.stats("user-1")["refresh_token"] == digest_of(tokens["refresh_token"])

    end(sandbox, "user-1")

    assert sandbox.stats("user-1")["refresh_token"] == ""


def test_counts_can_be_filtered_by_user(sandbox: Sandbox) -> None:
    account_id = sandbox.connect(["user-1", "user-2", "user-3"])["user-2"]["account_id"]

    def users(query: str) -> list[str]:
        response = requests.get(f"{sandbox.url}/__stats?{query}", timeout=10)
        return list(response.json()["users"])

    assert users("user=user-1") == ["user-1"]
    assert users(f"user={account_id}&user=user-3") == ["user-2", "user-3"]
    assert users("user=") == []


def test_remembers_the_last_200_refreshes(sandbox: Sandbox) -> None:
    token = sandbox.connect(["user-1"])["user-1"]["refresh_token"]
    for _ in range(205):
        token = sandbox.refresh(token).json()["refresh_token"]

    counts = sandbox.stats("user-1")
    assert (counts["refreshes"], counts["generation"]) == (205, 206)
    assert len(counts["refresh_times"]) == 200
    assert counts["refresh_times"] == sorted(counts["refresh_times"])


def test_counts_the_exchanges_of_a_user_that_are_in_flight_together(sandbox: Sandbox) -> None:
    token = sandbox.connect(["user-1", "user-2"])["user-1"]["refresh_token"]
    sandbox.faults("hold", when="before")

    def refresh(_: int) -> int:
        form = {"grant_type": "refresh_token", "refresh_token": token}
        auth = (Sandbox.client_id, Sandbox.client_secret)
        url = f"{sandbox.url}/api/token"
        return requests.post(url, data=form, auth=auth, timeout=10).status_code

    with ThreadPoolExecutor(3) as pool:
        answers = pool.map(refresh, range(3))
        wait_for(lambda: sandbox.stats()["held"] == 3, what="all three", every=0.01)
        sandbox.release()
        statuses = list(answers)

    assert sorted(statuses) == [200, 400, 400]
    assert sandbox.stats("user-1")["in_flight_max"] == 3
    assert sandbox.stats("user-2")["in_flight_max"] == 0
    assert sandbox.stats()["in_flight"] == 0


def test_an_exchange_that_the_client_gave_up_is_not_in_flight(sandbox: Sandbox) -> None:
    token = sandbox.connect(["user-1"])["user-1"]["refresh_token"]
    sandbox.faults("latency", seconds=60)
    for calls in (1, 2):
        with sent_refresh(sandbox, token):
            wait_for(partial(has_attempted, sandbox, calls), what="the call", every=0.01)

    assert sandbox.stats("user-1")["in_flight_max"] == 1


def has_attempted(sandbox: Sandbox, refreshes: int) -> bool:
    return bool(get_stats(sandbox)["totals"]["refreshes_attempted"] == refreshes)


def test_tells_dead_tokens_whose_successor_it_kept_itself_from_others(sandbox: Sandbox) -> None:
    answers = sandbox.connect(["user-1", "user-2"])
    lost, replaced = (answers[name]["refresh_token"] for name in ("user-1", "user-2"))
    sandbox.faults("answer_lost", users=["user-1"], times=1)
    with pytest.raises(requests.ConnectionError):
        sandbox.refresh(lost)
    sandbox.refresh(replaced)

    for dead in (lost, replaced):
        assert sandbox.refresh(dead).status_code == 400

    stats = sandbox.stats()
    assert stats["answers_spoiled"] == [digest_of(lost)]
    assert stats["dead_tokens_shown"] == [digest_of(lost), digest_of(replaced)]
