"""The table "What each answer means": each row is a rule of `decide`, and a test of it."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from dev.process import ROOT
from spotify_auth import schedule
from spotify_auth.accounts_service.answers import (
    AnswerLost,
    ClientRefused,
    Granted,
    RateLimited,
    Refused,
    Unavailable,
    Unreadable,
)
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.cooldown import Pause, Reason
from spotify_auth.models import Cause, Outcome, SpotifyToken
from spotify_auth.refresh.decisions import (
    AnyAnswer,
    Deactivated,
    Decision,
    Postpone,
    PutOff,
    SavedGrant,
    SavedGrantUnreadable,
    StoreFailure,
    StoreGrant,
    Undecryptable,
    Unforeseen,
    Unresolved,
    Unstorable,
    decide,
)
from spotify_auth.refresh.history import Evidence
from tests.support.claims import claim_of

FRACTION = 0.5
GRANT = Grant(access_token="a", refresh_token="r", expires_in=3600, scope="")
SAVED = SavedGrant(grant=GRANT, issued_at="2026-11-26 08:00:00+00")

DUE = schedule.refresh_after(3600, fraction=FRACTION)
LATE = schedule.refresh_after(3600, fraction=FRACTION, late=True)
BACKS_OFF = schedule.back_off(1, fraction=FRACTION)
SOON = schedule.ask_again_after(3600.0, suspected_for=0, waited=5, fraction=FRACTION)
LATER = schedule.ask_again_after(3600.0, suspected_for=1200, waited=5, fraction=FRACTION)
UNAVAILABLE = Pause(Reason.UNAVAILABLE, 5.0)
CLIENT_REFUSED = Pause(Reason.CLIENT_REFUSED, 60.0)


def stored(issued_at: str, cause: str, due_in: float) -> Decision:
    write = StoreGrant(grant=GRANT, issued_at=issued_at, cause=cause, due_in=due_in)
    return Decision(write=write, outcome=Outcome.REFRESHED)


def failed(error: str, due_in: float, outcome: Outcome, **more: Any) -> Decision:
    return Decision(write=StoreFailure(error=error, due_in=due_in), outcome=outcome, **more)


def condemned(error: str, *, appeals: int = 0, appeal_in: float | None = 3600.0) -> Decision:
    write = StoreFailure(
        error=error,
        due_in=0,
        status=SpotifyToken.Status.RECONNECT_REQUIRED,
        appeals=appeals,
        appeal_in=appeal_in,
    )
    return Decision(write=write, outcome=Outcome.RECONNECT_REQUIRED)


def appealed_later(*, pause: Pause | None = None) -> Decision:
    write = StoreFailure(
        error="invalid_grant",
        due_in=0,
        status=SpotifyToken.Status.RECONNECT_REQUIRED,
        appeal_in=300.0,
    )
    return Decision(write=write, outcome=Outcome.RETRY, pause=pause)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A row of the table, and an example of it."""

    row: tuple[str, str]
    """Its first two cells: the answer, and the condition."""
    answer: AnyAnswer
    decision: Decision
    claim: dict[str, Any] = field(default_factory=dict)
    seen: dict[str, Any] = field(default_factory=dict)
    probing: bool = False


CLAIM: dict[str, Any] = {"claimed_at": "now"}
ALIVE: dict[str, Any] = {}
DEAD: dict[str, Any] = {"suspected_for": 1200.0, "lifetime_used": 3601.0}
"""Refused for twenty minutes, and the access token has expired."""
ENOUGH: dict[str, Any] = {"refused_before": 2}
"""Refusals, with the one that is decided upon."""
APPEAL: dict[str, Any] = {
    "status": "reconnect_required",
    "cause": "appeal",
    "appeals": 0,
    "last_error": "invalid_grant",
    "suspected_for": 9999.0,
    "lifetime_used": 9999.0,
}

RULES = [
    Rule(
        row=("`SavedGrant`", "always"),
        answer=SAVED,
        decision=stored(SAVED.issued_at, Cause.RESCUE, DUE),
    ),
    Rule(
        row=("`SavedGrantUnreadable`", "always"),
        answer=SavedGrantUnreadable(),
        decision=failed("saved_grant_unreadable", BACKS_OFF, Outcome.RETRY),
    ),
    Rule(
        row=("`Unresolved`", "always"),
        answer=Unresolved(),
        decision=Decision(write=Postpone(due_in=2.0), outcome=Outcome.RETRY),
    ),
    Rule(
        row=("`Deactivated`", "always"),
        answer=Deactivated(),
        decision=Decision(write=Postpone(due_in=24 * 3600.0), outcome=Outcome.RETRY),
    ),
    Rule(
        row=("`Unstorable`", "always"),
        answer=Unstorable(),
        decision=Decision(
            write=PutOff(error="unstorable", due_in=BACKS_OFF), outcome=Outcome.RETRY
        ),
    ),
    Rule(
        row=("`Granted`", "the token had not expired"),
        answer=Granted(GRANT),
        decision=stored("now", "schedule", DUE),
    ),
    Rule(
        row=("`Granted`", "the token had expired"),
        answer=Granted(GRANT),
        claim={"lifetime_used": 3601.0},
        decision=stored("now", "schedule", LATE),
    ),
    Rule(
        row=("`Granted`", "it is an appeal"),
        answer=Granted(GRANT),
        claim=APPEAL,
        decision=stored("now", Cause.APPEAL, LATE),
    ),
    Rule(
        row=("`RateLimited`", "it is an appeal"),
        answer=RateLimited(7.0),
        claim=APPEAL,
        decision=appealed_later(pause=Pause(Reason.RATE_LIMITED, 7.0)),
    ),
    Rule(
        row=("`Refused`, `ClientRefused`, `Undecryptable`", "it is an appeal"),
        answer=Refused(),
        claim=APPEAL,
        decision=condemned("invalid_grant", appeals=1, appeal_in=5 * 3600.0),
    ),
    Rule(
        row=("any other answer", "it is an appeal"),
        answer=Unavailable("http_503"),
        claim=APPEAL,
        probing=True,
        decision=appealed_later(),
    ),
    Rule(
        row=("`Refused`", "six months have passed since the user approved"),
        answer=Refused(),
        claim={"six_months_over": True},
        seen={"refusals_are_rare": False},
        decision=condemned("six_months_over"),
    ),
    Rule(
        row=("`Refused`", "refused often and long enough, and refusals are rare"),
        answer=Refused(),
        claim=DEAD,
        seen=ENOUGH,
        decision=condemned("invalid_grant"),
    ),
    Rule(
        row=("`Refused`", "refused often and long enough, and held for six hours"),
        answer=Refused(),
        claim={**DEAD, "suspected_for": 6 * 3600.0},
        seen={**ENOUGH, "refusals_are_rare": False, "held_too_long": True},
        decision=condemned("invalid_grant"),
    ),
    Rule(
        row=("`Refused`", "otherwise"),
        answer=Refused(),
        claim=DEAD,
        seen={**ENOUGH, "refusals_are_rare": False},
        decision=failed("invalid_grant", LATER, Outcome.SUSPECTED),
    ),
    Rule(
        row=("`ClientRefused`", "this token alone, for six hours"),
        answer=ClientRefused("invalid_request"),
        seen={"client_refused_too_long": True},
        decision=condemned("client_refused"),
    ),
    Rule(
        row=("`ClientRefused`", "the latest three tokens met it, or the lane is a probe"),
        answer=ClientRefused("invalid_client"),
        seen={"clients_are_refused": True},
        decision=failed("invalid_client", BACKS_OFF, Outcome.RETRY, pause=CLIENT_REFUSED),
    ),
    Rule(
        row=("`ClientRefused`", "otherwise"),
        answer=ClientRefused("invalid_request"),
        decision=failed("invalid_request", BACKS_OFF, Outcome.RETRY),
    ),
    Rule(
        row=("`Undecryptable`", "for the first time"),
        answer=Undecryptable(),
        decision=failed("undecryptable", BACKS_OFF, Outcome.RETRY),
    ),
    Rule(
        row=("`Undecryptable`", "otherwise"),
        answer=Undecryptable(),
        claim={"failures": 20, "last_error": "undecryptable"},
        decision=Decision(
            write=PutOff(error="undecryptable", due_in=3600.0 * FRACTION), outcome=Outcome.RETRY
        ),
    ),
    Rule(
        row=("`RateLimited`", "Spotify sent a usable `Retry-After`"),
        answer=RateLimited(7.0),
        decision=failed(
            "rate_limited", BACKS_OFF, Outcome.RETRY, pause=Pause(Reason.RATE_LIMITED, 7.0)
        ),
    ),
    Rule(
        row=("`RateLimited`", "otherwise"),
        answer=RateLimited(None),
        decision=failed(
            "rate_limited", BACKS_OFF, Outcome.RETRY, pause=Pause(Reason.RATE_LIMITED, 30.0)
        ),
    ),
    Rule(
        row=("`Unavailable`, `Unreadable`, `AnswerLost`", "the lane is a probe"),
        answer=Unavailable("http_503"),
        probing=True,
        decision=failed("http_503", BACKS_OFF, Outcome.RETRY, pause=UNAVAILABLE),
    ),
    Rule(
        row=("`Unavailable`, `Unreadable`, `AnswerLost`", "nobody is answered"),
        answer=Unreadable("answer_malformed"),
        seen={"nobody_is_answered": True},
        decision=failed("answer_malformed", BACKS_OFF, Outcome.RETRY, pause=UNAVAILABLE),
    ),
    Rule(
        row=("`Unavailable`, `Unreadable`, `AnswerLost`", "otherwise"),
        answer=AnswerLost("timeout"),
        seen={"lost_just_now": True, "answer_was_lost": True},
        decision=failed("timeout", BACKS_OFF, Outcome.ANSWER_UNKNOWN, remember_lost=True),
    ),
    Rule(
        row=("`Unforeseen`", "always"),
        answer=Unforeseen(),
        decision=failed("unforeseen", BACKS_OFF, Outcome.RETRY),
    ),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: ": ".join(rule.row))
def test_each_row_of_the_table_is_what_is_decided(rule: Rule) -> None:
    claim = claim_of(**{**CLAIM, **rule.claim})

    decision = decide(claim, rule.answer, Evidence(**rule.seen), rule.probing, FRACTION)

    assert decision == rule.decision


def test_the_table_of_the_documentation_has_the_same_rows() -> None:
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text()
    section = page.split("\n## What each answer means\n")[1].split("\nWhat a refusal is called")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]

    cells = [tuple(cell.strip() for cell in row.strip("|").split("|")[:2]) for row in rows]
    assert cells == [rule.row for rule in RULES]


@pytest.mark.parametrize(("waited", "due_in"), [(5.0, SOON), (600.0, 1800.0)])
def test_a_refused_token_steps_back_while_the_lanes_are_behind(
    waited: float, due_in: float
) -> None:
    decision = decide(claim_of(waited=waited), Refused(), Evidence(), False, FRACTION)

    assert decision == failed("invalid_grant", due_in, Outcome.SUSPECTED)


@pytest.mark.parametrize("answer_was_lost", [False, True])
@pytest.mark.parametrize("dead", [False, True])
def test_a_refusal_is_called_by_what_we_know(answer_was_lost: bool, dead: bool) -> None:
    claim = claim_of(**(DEAD if dead else ALIVE))
    seen = Evidence(answer_was_lost=answer_was_lost, **ENOUGH)

    decision = decide(claim, Refused(), seen, False, FRACTION)

    assert isinstance(decision.write, StoreFailure)
    assert decision.write.error == ("answer_lost" if answer_was_lost else "invalid_grant")
    # The history knows it of a condemned token, and nothing need be remembered.
    assert decision.remember_lost == (answer_was_lost and not dead)


@pytest.mark.parametrize(
    "answer",
    [
        Refused(),
        RateLimited(7.0),
        ClientRefused("invalid_client"),
        Unavailable("http_503"),
        Deactivated(),
    ],
)
def test_a_lost_answer_is_remembered_beyond_other_failures(answer: AnyAnswer) -> None:
    decision = decide(claim_of(), answer, Evidence(answer_was_lost=True), False, FRACTION)

    assert decision.remember_lost


@pytest.mark.parametrize(
    ("missing", "claim", "seen"),
    [
        ("the access token lives", {"lifetime_used": 3599.0}, {}),
        ("refused twice", {}, {"refused_before": 1}),
        ("refused for less than ten minutes", {"suspected_for": 599.0}, {}),
        ("refused for the first time", {"suspected_for": None}, {"refused_before": 0}),
        ("refusals are not rare", {}, {"refusals_are_rare": False}),
    ],
)
def test_a_verdict_needs_all_of_it(
    missing: str, claim: dict[str, Any], seen: dict[str, Any]
) -> None:
    evidence = Evidence(**{**ENOUGH, **seen})

    decision = decide(claim_of(**{**DEAD, **claim}), Refused(), evidence, False, FRACTION)

    assert decision.outcome is Outcome.SUSPECTED, missing


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: ": ".join(rule.row))
def test_a_refusal_never_pauses_anybody(rule: Rule) -> None:
    for probing in (False, True):
        decision = decide(claim_of(**CLAIM), rule.answer, Evidence(), probing, FRACTION)

        assert decision.pause is None or not isinstance(rule.answer, Refused)


def test_the_third_appeal_is_the_last() -> None:
    decision = decide(claim_of(**{**APPEAL, "appeals": 2}), Refused(), Evidence(), False, FRACTION)

    assert decision == condemned("invalid_grant", appeals=3, appeal_in=None)


@pytest.mark.parametrize("answer", [ClientRefused("invalid_request"), Undecryptable()])
def test_an_odd_token_is_not_appealed_for_ever(answer: AnyAnswer) -> None:
    decision = decide(claim_of(**APPEAL), answer, Evidence(), False, FRACTION)

    assert decision == condemned("invalid_grant", appeals=1, appeal_in=5 * 3600.0)


def test_an_appeal_is_not_lost_to_our_own_credentials() -> None:
    seen = Evidence(clients_are_refused=True)

    decision = decide(claim_of(**APPEAL), ClientRefused("invalid_client"), seen, False, FRACTION)

    assert decision == appealed_later()


def test_an_appeal_that_postgresql_refuses_is_put_off() -> None:
    decision = decide(claim_of(**APPEAL), Unstorable(), Evidence(), False, FRACTION)

    assert isinstance(decision.write, PutOff)
