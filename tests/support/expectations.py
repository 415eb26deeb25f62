"""What each fault of the sandbox must come to: the row, the newest event, the page."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from spotify_auth.models import Cause, Outcome

CONNECTED, RECONNECTING, RECONNECT = "Connected", "Reconnecting to Spotify", "Reconnect required"

_LOST_WORDS = "An answer from Spotify was lost on its way to us"


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """Faults for one victim whose token is due and whose access token has expired."""

    faults: Mapping[str, Mapping[str, Any]]
    """Names and parameters; a name may be an action, which happens at once."""
    outcome: Outcome
    error: str = ""
    cause: Cause = Cause.SCHEDULE
    rotated: bool = False
    page: str = RECONNECTING
    words: str = ""
    """What the page also says to this person."""
    by_login: bool = False
    """Whether it takes a log-in to recover; else it goes by itself when the fault ends."""


def _refreshed(*, rotated: bool = True, **faults: Mapping[str, Any]) -> Case:
    return Case(faults=faults, outcome=Outcome.REFRESHED, rotated=rotated, page=CONNECTED)


def _tried_again(error: str, **faults: Mapping[str, Any]) -> Case:
    return Case(faults=faults, outcome=Outcome.RETRY, error=error)


def _unanswered(error: str, **faults: Mapping[str, Any]) -> Case:
    return Case(faults=faults, outcome=Outcome.ANSWER_UNKNOWN, error=error)


def _condemned(error: str, words: str, **faults: Mapping[str, Any]) -> Case:
    return Case(
        faults=faults,
        outcome=Outcome.RECONNECT_REQUIRED,
        error=error,
        page=RECONNECT,
        words=words,
        by_login=True,
    )


ROTATING: dict[str, Case] = {
    # Late, within the deadline.
    "a late request": _refreshed(latency={"seconds": 0.3}),
    "a late answer": _refreshed(latency_after_rotating={"seconds": 0.3}),
    # No answer: Spotify has rotated, and the second request shows a dead token.
    "an answer later than the deadline": _condemned(
        "answer_lost", _LOST_WORDS, latency_after_rotating={"seconds": 4, "times": 1}
    ),
    "an answer held": _condemned("answer_lost", _LOST_WORDS, hold={"when": "after", "times": 1}),
    "an answer lost": _condemned("answer_lost", _LOST_WORDS, answer_lost={"times": 1}),
    "an answer lost, reuse revokes": _condemned(
        "answer_lost", _LOST_WORDS, answer_lost={"times": 1}, reuse_revokes_grant={}
    ),
    "an answer dripped after rotating": _condemned(
        "answer_lost", _LOST_WORDS, slow_drip={"interval": 0.3, "rotate": True, "times": 1}
    ),
    "an answer lost, with a grace window": _refreshed(
        answer_lost={"times": 1}, grace_window={"seconds": 30}
    ),
    # No answer: nobody can tell whether Spotify has rotated.
    "a request held": Case(
        faults={"hold": {"when": "before"}},
        outcome=Outcome.ANSWER_UNKNOWN,
        error="timeout",
        by_login=True,  # the sandbox goes on with it when it is let go
    ),
    "a reset": _unanswered("connection_cut", connection_reset={}),
    "a dripped head": _unanswered("timeout", slow_drip={"interval": 0.3}),
    "a dripped body": _unanswered(
        "answer_cut_short", slow_drip={"interval": 0.3, "headers": False}
    ),
    # An answer that is no grant.
    "503": _tried_again("http_503", unavailable={}),
    "500 with an empty body": _tried_again("http_500", unavailable={"status": 500, "body": ""}),
    "not JSON": _unanswered("answer_without_access_token", garbage={}),
    "an absurd lifetime": _refreshed(
        rotated=False, garbage={"body": '{"access_token": "a", "expires_in": 0}', "times": 1}
    ),
    "one false invalid_grant": Case(
        faults={"false_invalid_grant": {"times": 1}},
        outcome=Outcome.SUSPECTED,
        error="invalid_grant",
    ),
    # Other servers' habits.
    "rotation": _refreshed(rotation={}),
    "a blank scope": _refreshed(blank_scope={}),
    "reuse would revoke": _refreshed(reuse_revokes_grant={}),
    "the old access token dies": _refreshed(old_access_token_dies={}),
    # The Web API's faults are no concern of the token's.
    "the Web API fails": _refreshed(web_api_error={}),
    "the owner's Premium has lapsed": _refreshed(owner_without_premium={}),
    "the Web API is slow": _refreshed(web_api_latency={"seconds": 0.1}),
    "the Web API waits for several calls": _refreshed(web_api_together={"calls": 2}),
    # What is for good.
    "the app removed": _condemned(
        "invalid_grant", "Spotify no longer accepts this connection", revoke={}
    ),
    "six months over": _condemned(
        "six_months_over",
        "Spotify ends every connection six months after it was approved",
        expire_refresh_token={},
    ),
    "the access token refused": Case(
        faults={"expire_access_tokens": {}},
        outcome=Outcome.REFRESHED,
        cause=Cause.UNAUTHORIZED,
        rotated=True,
        page=CONNECTED,
    ),
}


COSTS_NOTHING = {
    "an answer later than the deadline",
    "an answer held",
    "an answer lost",
    "an answer lost, reuse revokes",
    "an answer dripped after rotating",
}
"""In the world in which the refresh token stays: asked again at once it gives another pair."""


def _where_the_refresh_token_stays(name: str, case: Case) -> Case:
    faults = {**case.faults, "no_rotation": {}}
    if name in COSTS_NOTHING:
        return _refreshed(rotated=False, **faults)
    return replace(case, faults=faults, rotated=False)


CASES: dict[str, Case] = {
    **{f"rotating: {name}": case for name, case in ROTATING.items()},
    # The sandbox has one world, so each of these victims brings the other along.
    **{
        f"spotify-2026: {name}": _where_the_refresh_token_stays(name, case)
        for name, case in ROTATING.items()
        # What is held goes on when the faults end, and with them the world that was brought.
        if name not in {"rotation", "a request held"}
    },
}


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseOfAll:
    """A fault that strikes everybody: nobody pays for it."""

    fault: str
    parameters: Mapping[str, Any]
    log: str
    """What the worker says."""
    pauses: bool = True
    """Whether nobody is asked about until it is over."""


CASES_OF_ALL: dict[str, CaseOfAll] = {
    "a mass of false invalid_grant": CaseOfAll(
        fault="false_invalid_grant", parameters={}, log="mass_refusal refused=", pauses=False
    ),
    "429": CaseOfAll(
        fault="rate_limited",
        parameters={"retry_after": "60"},
        log="cooldown_on reason=rate_limited",
    ),
    "a refused client secret": CaseOfAll(
        fault="invalid_client", parameters={}, log="cooldown_on reason=client_refused"
    ),
}
