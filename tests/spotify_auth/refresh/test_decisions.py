"""The table "What each answer means": each row is a rule of `decide`, and a test of it."""

from dataclasses import dataclass, field
from itertools import product
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
    Decision,
    Leave,
    Postpone,
    SavedGrant,
    StoreFailure,
    StoreGrant,
    Undecryptable,
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
SOON = schedule.confirm_after(3600.0)
UNAVAILABLE = Pause(Reason.UNAVAILABLE, 5.0)
OUTAGE = Pause(Reason.OUTAGE, 15.0)


def stored(issued_at: str, cause: str, due_in: float) -> Decision:
    write = StoreGrant(grant=GRANT, issued_at=issued_at, cause=cause, due_in=due_in)
    return Decision(write=write, outcome=Outcome.REFRESHED)


def failed(error: str, due_in: float, outcome: Outcome, **more: Any) -> Decision:
    return Decision(write=StoreFailure(error=error, due_in=due_in), outcome=outcome, **more)


def left(reason: Reason, seconds: float) -> Decision:
    return Decision(write=Leave(), outcome=None, pause=Pause(reason, seconds))


def condemned(error: str) -> Decision:
    write = StoreFailure(error=error, due_in=0, status=SpotifyToken.Status.RECONNECT_REQUIRED)
    return Decision(write=write, outcome=Outcome.RECONNECT_REQUIRED)


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


SUSPECTED = {"suspected": True, "claimed_at": "now"}
CLAIM = {"claimed_at": "now"}

RULES = [
    Rule(
        row=("`SavedGrant`", "always"),
        answer=SAVED,
        decision=stored(SAVED.issued_at, Cause.RESCUE, DUE),
    ),
    Rule(
        row=("`Unresolved`", "always"),
        answer=Unresolved(),
        decision=Decision(write=Postpone(due_in=2.0), outcome=Outcome.RETRY),
    ),
    Rule(
        row=("`Undecryptable`", "always"),
        answer=Undecryptable(),
        decision=failed("undecryptable", BACKS_OFF, Outcome.RETRY),
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
        row=("`Unstorable`", "always"),
        answer=Unstorable(),
        decision=failed("unstorable", BACKS_OFF, Outcome.RETRY),
    ),
    Rule(
        row=("`RateLimited`", "Spotify sent a usable `Retry-After`"),
        answer=RateLimited(7.0),
        decision=left(Reason.RATE_LIMITED, 7.0),
    ),
    Rule(
        row=("`RateLimited`", "otherwise"),
        answer=RateLimited(None),
        decision=left(Reason.RATE_LIMITED, 30.0),
    ),
    Rule(
        row=("`ClientRefused`", "always"),
        answer=ClientRefused("invalid_client"),
        decision=left(Reason.CLIENT_REFUSED, 60.0),
    ),
    Rule(
        row=("`Refused`", "so many users are refused that it is an outage"),
        answer=Refused(),
        claim=SUSPECTED,
        seen={"outage": True, "others_were_refreshed": True},
        decision=failed("invalid_grant", SOON, Outcome.SUSPECTED, pause=OUTAGE),
    ),
    Rule(
        row=("`Refused`", "the lane is a probe, and this token was not suspected before"),
        answer=Refused(),
        probing=True,
        decision=failed("invalid_grant", SOON, Outcome.SUSPECTED, pause=OUTAGE),
    ),
    Rule(
        row=("`Refused`", "the token was suspected before, and Spotify refreshes others"),
        answer=Refused(),
        claim=SUSPECTED,
        seen={"others_were_refreshed": True},
        decision=condemned("invalid_grant"),
    ),
    Rule(
        row=("`Refused`", "the token was suspected before, and Spotify refreshes no others"),
        answer=Refused(),
        claim=SUSPECTED,
        decision=failed("invalid_grant", SOON, Outcome.SUSPECTED),
    ),
    Rule(
        row=("`Refused`", "the token was not suspected before"),
        answer=Refused(),
        seen={"others_were_refreshed": True},
        decision=failed("invalid_grant", SOON, Outcome.SUSPECTED),
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
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: ": ".join(rule.row))
def test_each_row_of_the_table_is_what_is_decided(rule: Rule) -> None:
    claim = claim_of(**{**CLAIM, **rule.claim})

    decision = decide(claim, rule.answer, Evidence(**rule.seen), rule.probing, FRACTION)

    assert decision == rule.decision


def test_the_table_of_the_documentation_has_the_same_rows() -> None:
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text()
    section = page.split("\n## What each answer means\n")[1].split("\nWhat a refusal is called")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]

    cells = [tuple(cell.strip() for cell in row.strip("|").split("|")[:2]) for row in rows]
    assert cells == [rule.row for rule in RULES]


@pytest.mark.parametrize(
    ("six_months_over", "answer_was_lost", "error"),
    [
        (False, False, "invalid_grant"),
        (False, True, "answer_lost"),
        (True, False, "six_months_over"),
        # Our own record of the six months says more than a lost answer does.
        (True, True, "six_months_over"),
    ],
)
@pytest.mark.parametrize("suspected", [False, True])
def test_a_refusal_is_called_by_what_we_know(
    six_months_over: bool, answer_was_lost: bool, error: str, suspected: bool
) -> None:
    claim = claim_of(suspected=suspected, six_months_over=six_months_over)
    seen = Evidence(answer_was_lost=answer_was_lost, others_were_refreshed=True)

    decision = decide(claim, Refused(), seen, False, FRACTION)

    assert isinstance(decision.write, StoreFailure)
    assert decision.write.error == error
    # A condemned token is never asked for again, so nothing need be remembered.
    assert decision.remember_lost == (answer_was_lost and not suspected)


@pytest.mark.parametrize(
    "answer",
    [Refused(), RateLimited(7.0), ClientRefused("invalid_client"), Unavailable("http_503")],
)
def test_a_lost_answer_is_remembered_beyond_other_failures(answer: AnyAnswer) -> None:
    decision = decide(claim_of(), answer, Evidence(answer_was_lost=True), False, FRACTION)

    assert decision.remember_lost


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: ": ".join(rule.row))
def test_only_a_second_refusal_ever_costs_the_connection(rule: Rule) -> None:
    flags = list(Evidence.__dataclass_fields__)
    for values in product((False, True), repeat=len(flags) + 2):
        seen = Evidence(**dict(zip(flags, values, strict=False)))
        suspected, probing = values[-2:]
        claim = claim_of(suspected=suspected, failures=10**6)

        decision = decide(claim, rule.answer, seen, probing, FRACTION)

        if decision.outcome is Outcome.RECONNECT_REQUIRED:
            assert isinstance(rule.answer, Refused)
            assert suspected
            assert seen.others_were_refreshed
            assert not seen.outage
