"""What each fault must come to, when each state ends, and what each loss costs.

`CASES` and `CASES_OF_ALL` are played against a worker, `tests/faults/test_answers_with_workers.py`.
`STATES` and `LOSSES` hold docs/explanation/failures.md to the service's own times, and to the tests
that show it: `tests/docs/test_failures.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from config.celery import RECONNECT_SECONDS
from config.idle_connections import IDLE_SECONDS, LOOK_SECONDS
from spotify_auth import cooldown, login, pace_rule, redis_health
from spotify_auth.chores import EVERY
from spotify_auth.conf import DEFAULTS
from spotify_auth.freshness import MISSED_INTERVALS
from spotify_auth.middleware import AFTER_A_FAILURE_SECONDS
from spotify_auth.models import Cause, Outcome
from spotify_auth.refresh import saved_grants
from spotify_auth.refresh.history import CLIENT_REFUSED_HOURS
from spotify_auth.schedule import (
    APPEAL_HOURS,
    BACK_OFF_LIMIT_SECONDS,
    UNDECRYPTABLE_LIMIT_SECONDS,
    ask_again_after,
    longest_exchange,
)
from spotify_auth.tasks import house_keeping
from spotify_auth.web_api import pause

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
    "a false invalid_grant": Case(
        faults={"false_invalid_grant": {}},  # more than one, or it would mend before we look
        outcome=Outcome.SUSPECTED,
        error="invalid_grant",
    ),
    # Other servers' habits.
    "rotation": _refreshed(rotation={}),
    "a blank scope": _refreshed(blank_scope={}),
    "reuse would revoke": _refreshed(reuse_revokes_grant={}),
    "the old access token dies": _refreshed(old_access_token_dies={}),
    # A clock, and the Web API's faults, are no concern of the token's.
    "Spotify's clock is ahead": _refreshed(clock_ahead={"seconds": 300}),
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


def _words(seconds: float) -> str:
    """A time as the page says it, rounded up."""
    if seconds <= 300:
        return f"{seconds:.0f} s"
    if seconds > 86_400 and seconds % 86_400 == 0:
        return f"{seconds / 86_400:.0f} days"
    minutes = int(-(-seconds // 60))
    hours, minutes = divmod(minutes, 60)
    return " ".join(
        [f"{hours} h"] * bool(hours) + [f"{minutes} min"] * bool(minutes) or ["at once"]
    )


_SWEEP = DEFAULTS["REFRESH_SWEEP_SECONDS"]
_EXCHANGE = longest_exchange(DEFAULTS["TOKEN_ENDPOINT_DEADLINE_SECONDS"])
_DOUBT = _EXCHANGE + saved_grants.RESCUE_SECONDS
_ASK_AGAIN = ask_again_after(
    DEFAULTS["ACCESS_TOKEN_LIFETIME_SECONDS"], suspected_for=float("inf"), waited=0, fraction=1
)
_HELD = DEFAULTS["OUTAGE_GUARD_LONGEST_SECONDS"]
_CLIENT_REFUSED = timedelta(hours=CLIENT_REFUSED_HOURS).total_seconds()
_FIRST, _SECOND, _THIRD = (f"{hours:.0f}" for hours in APPEAL_HOURS)

STATES: dict[str, str] = {
    # The row.
    "due": f"{_words(_SWEEP)}, if a lane is free",
    "claimed: a lane holds the row": _words(_EXCHANGE),
    "unresolved: another attempt may still save its grant": _words(_DOUBT),
    "backing off after a failure": _words(BACK_OFF_LIMIT_SECONDS),
    "put off: PostgreSQL refused the answer": (
        f"{_words(BACK_OFF_LIMIT_SECONDS)} after it takes it"
    ),
    "undecryptable": f"{_words(UNDECRYPTABLE_LIMIT_SECONDS)} after the key is back",
    "refused with an error of the client, alone": (
        _words(_CLIENT_REFUSED + BACK_OFF_LIMIT_SECONDS)
    ),
    "suspected, the access token lives": "the access token expires",
    "suspected, the access token is dead, refusals are rare": (
        f"{_words(_ASK_AGAIN)} after it expired, or was first refused"
    ),
    "suspected, the access token is dead, refusals are not rare": (
        f"{_words(_HELD + _ASK_AGAIN)} after the first refusal"
    ),
    "reconnect required": "the user decides",
    "an appeal that is not answered": _words(BACK_OFF_LIMIT_SECONDS),
    "dormant": "the six months are over",
    "paused by an administrator": "an operator decides",
    "all refreshing is paused by an operator": "an operator decides",
    "disconnected or revoked": "the user decides",
    "times that lie ahead: PostgreSQL's clock was ahead": "when that time has come",
    "a login under way": _words(login.LIFETIME.total_seconds()),
    # Redis.
    "a saved grant waits": _words(saved_grants.KEPT_MILLISECONDS / 1000),
    "a stored grant stays in Redis": _words(saved_grants.STORED_MILLISECONDS / 1000),
    "a mark says that an answer was lost": _words(saved_grants.KEPT_MILLISECONDS / 1000),
    "all pause": f"{_words(cooldown.LONGEST_SECONDS)} (`Retry-After`), "
    f"else {_words(cooldown.CLIENT_REFUSED_SECONDS)}",
    "half-open: one lane probes": (
        f"{_words(cooldown._HALF_OPEN_MILLISECONDS / 1000)} after the pause"
    ),
    "as many lanes as `REFRESH_LANES` ask": f"{_words(_EXCHANGE)} after a kill",
    "an endpoint of the Web API is paused": _words(pause.LONGEST_SECONDS),
    "all calls of the Web API are paused": (
        f"{_words(pause.LONGEST_TOGETHER_SECONDS)}; {_words(pause.LONGEST_SECONDS)} "
        "if the quota is spent"
    ),
    "the Web API has a pace": _words(pace_rule.FORGOTTEN_SECONDS),
    # The processes.
    "Redis is away": f"at once; {_words(redis_health.ASK_AGAIN_SECONDS)} if it hung",
    "a worker has lost its broker": f"{_words(RECONNECT_SECONDS)} after Redis is back",
    "PostgreSQL is away, sweeps fail": f"{_words(_SWEEP)} after it is back",
    "a session on a demoted server": f"at its first use; {_words(IDLE_SECONDS + LOOK_SECONDS)} "
    "without any",
    "a lane holds a grant, Redis and PostgreSQL are away": (
        f"one of them is back; {_words(saved_grants.LAST_TRIES_SECONDS)} after SIGTERM"
    ),
    "a worker was told to stop": _words(_EXCHANGE),
    "a visit could not be noted": _words(AFTER_A_FAILURE_SECONDS),
    "no sweeps: beat is away, or hangs": _words(MISSED_INTERVALS * _SWEEP + _SWEEP),
    "a chore whose worker was killed": _words(EVERY[house_keeping.name].total_seconds()),
}
"""At the latest, with the default settings: the third column of the page's table."""

APPEALS = f"{_FIRST}, {_SECOND} and {_THIRD} hours after the verdict"
"""What the page says of them."""

_KILLS = "tests/cluster/test_kills.py"
_RESCUE = "tests/faults/test_rescue.py"
_STEPS = "tests/faults/test_kill_at_each_step.py"

LOSSES: dict[str, str] = {
    "the database session is cut, PostgreSQL restarts or fails over": (
        f"{_RESCUE}::test_a_grant_survives_a_cut_connection"
    ),
    "the lane is frozen, or its session is cut, between its claim and its request": (
        "tests/cluster/test_frozen_workers.py::test_a_frozen_worker_presents_no_dead_token"
    ),
    "PostgreSQL fails over to an asynchronous standby that missed the last commits": (
        f"{_RESCUE}::test_a_failover_that_lost_the_last_commits_loses_no_pair"
    ),
    "the same, later than a minute after the commit, or with Redis": (
        f"{_RESCUE}::test_a_failover_that_also_lost_redis_loses_the_pair"
    ),
    "PostgreSQL is restored from a backup": (
        "tests/spotify_auth/maintenance/test_restoring.py"
        "::test_no_token_of_the_backup_is_ever_presented"
    ),
    "PostgreSQL refuses the write: a partition of the history is missing, a CHECK, an overflow": (
        f"{_RESCUE}::test_a_history_that_takes_no_event_costs_no_pair"
    ),
    "an exception that no rule knows": (
        f"{_RESCUE}::test_an_exception_that_no_rule_knows_costs_neither_its_grant_nor_the_lane"
    ),
    "the saved grant is under a key that this worker lacks, or written by another version": (
        f"{_RESCUE}::test_a_saved_grant_that_cannot_be_read_waits_and_is_never_deleted"
    ),
    "PostgreSQL is read-only": f"{_RESCUE}::test_a_read_only_database_spends_nothing",
    "the COMMIT was executed, its acknowledgement was lost": (
        f"{_RESCUE}::test_a_commit_whose_acknowledgement_is_lost_is_recognised"
    ),
    "the session is cut and Redis is away": (
        f"{_RESCUE}::test_without_redis_the_lane_holds_the_grant_until_postgresql_is_back"
    ),
    "the worker must end while both are away": (
        f"{_RESCUE}::test_a_worker_that_stops_does_not_hold_a_grant_for_ever"
    ),
    "the session is cut, and Redis is lost, or away for over a minute, before the saved grant "
    "is stored": f"{_RESCUE}::test_a_saved_grant_that_is_lost_with_redis_is_a_lost_pair",
    "Redis hangs, or its host is gone without a word": (
        "tests/spotify_auth/test_redis_health.py::test_a_redis_that_hangs_costs_one_timeout"
    ),
    "Redis fails over, and the process still has its connection to the old primary": (
        "tests/spotify_auth/test_redis_health.py::test_a_demoted_redis_is_left"
    ),
    "Redis is killed or flushed": f"{_KILLS}::test_a_killed_redis_costs_nothing",
    "beats are killed": f"{_KILLS}::test_killed_beats_cost_time_only",
    "the worker gets SIGTERM": (
        f"{_KILLS}::test_a_worker_that_is_told_to_stop_finishes_what_it_holds"
    ),
    "a worker hangs with an answer that it has not read": (
        "tests/cluster/test_frozen_workers.py"
        "::test_a_worker_that_was_frozen_with_an_answer_saves_it_when_it_goes_on"
    ),
    (
        "a host is cut off from PostgreSQL and Redis in the middle of exchanges, while Spotify "
        "still answers it, and comes back"
    ): (
        "tests/cluster/test_two_hosts.py"
        "::test_a_host_that_is_cut_off_presents_no_dead_token_and_loses_nothing"
    ),
    "a host's way to Spotify is cut, and comes back": (
        "tests/cluster/test_two_hosts.py"
        "::test_what_a_host_could_not_send_is_not_sent_when_it_is_back"
    ),
    "Spotify's answer is lost on the network": (
        "tests/spotify_auth/refresh/test_refresher.py"
        "::test_a_lost_answer_is_asked_for_once_more_at_once"
    ),
    "PostgreSQL's host dies without closing its connections": (
        "tests/config/test_database.py"
        "::test_a_host_that_is_gone_without_a_word_is_noticed_before_its_rows_are_taken"
    ),
    "the worker gets SIGKILL after it has sent the pair to PostgreSQL": (
        f"{_STEPS}::test_what_survives_a_kill"
    ),
    "the worker gets SIGKILL, or its machine dies, before it has sent the pair": (
        f"{_KILLS}::test_a_worker_killed_while_the_answer_is_on_the_wire_ends_as_answer_lost"
    ),
}
"""Each row of the page's first table, and the test that shows what it costs."""
