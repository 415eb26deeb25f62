"""Refusals, simulated with the service's own rules: what must hold, and the evidence."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from accounts.models import User
from benchmarks.simulation.refusals import runs
from benchmarks.simulation.refusals.arrays import Times, Users
from benchmarks.simulation.refusals.events import GRANTED, REFUSED, UNCOUNTED, Events
from benchmarks.simulation.refusals.scenario import HOUR, Fault, Refused, usual_lanes
from benchmarks.simulation.refusals.simulation import RefusalSimulation
from dev.process import ROOT
from spotify_auth import connections, schedule
from spotify_auth.accounts_service.answers import Refused as Refusal
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.models import Cause, Outcome, SpotifyToken, TokenEvent
from spotify_auth.refresh import history
from spotify_auth.refresh.decisions import decide
from tests.support.claims import claim_of

USERS = 300
LIES = [fault for duration in runs.DURATIONS for fault in runs.lies(duration, USERS)]
TRUTHS = list(runs.truths(USERS))
TWO_THIRDS = Fault(
    name="two thirds",
    users=20_001,
    lanes=2,  # 1.35 times the need
    refused=Refused.DEAD,
    share=2 / 3,
    longest=3 * HOUR,
)


def named(fault: Fault) -> str:
    return f"{fault.name} for {fault.seconds:.0f} s"


@pytest.mark.parametrize("fault", LIES, ids=named)
def test_false_refusals_make_no_healthy_user_stale_and_end_with_everybody_active(
    fault: Fault,
) -> None:
    result = RefusalSimulation(fault, seed=1).run()

    assert not result.healthy_stale
    assert result.least_left > 600
    assert result.ended < fault.ends + fault.longest  # by itself
    assert all(seconds < 7 * HOUR for seconds in result.wrongly_condemned)
    if fault.seconds <= 600 or fault.share >= 0.1:
        assert not result.wrongly_condemned
        assert all(seconds < 2300 for seconds in result.stale_after_the_end)


@pytest.mark.parametrize("fault", TRUTHS, ids=named)
def test_the_truly_dead_see_a_button_at_once_and_the_verdict_within_seven_hours(
    fault: Fault,
) -> None:
    result = RefusalSimulation(fault, seed=1).run()

    assert not result.healthy_stale
    assert result.least_left > 600
    assert len(result.button) == result.dead
    assert max(result.button) == 0
    assert result.never_told == 0
    assert max(result.verdict) < 7 * HOUR
    if fault.refused is Refused.SIX_MONTHS:
        assert max(result.verdict) == 0


def test_a_few_who_died_are_told_within_minutes() -> None:
    fault = replace(TRUTHS[1], share=0.01)

    result = RefusalSimulation(fault, seed=1).run()

    assert result.dead == len(result.verdict) == 3
    assert max(result.verdict) < 600


def test_two_thirds_that_are_dead_keep_no_healthy_token_from_its_turn() -> None:
    result = RefusalSimulation(TWO_THIRDS, seed=1).run()

    assert not result.healthy_stale
    assert result.least_left > 240
    assert len(result.button) == result.dead
    assert max(result.button) == 0


def test_they_would_if_they_did_not_step_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "BEHIND_SECONDS", float("inf"))

    result = RefusalSimulation(TWO_THIRDS, seed=1).run()

    assert len(result.healthy_stale) > 1000


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        next(fault for fault in runs.lies("3 h", 3000) if fault.name == "50 % of users"),
        next(fault for fault in runs.lies("3 h", 3000) if fault.name == "90 % of answers"),
        next(fault for fault in runs.truths(3000) if fault.share == 2 / 3),
    ],
    ids=named,
)
def test_deciding_together_comes_to_the_same_as_deciding_one_by_one(fault: Fault) -> None:
    alone = RefusalSimulation(fault, seed=1, alone=True).run()
    together = RefusalSimulation(fault, seed=2, alone=False).run()

    assert sum(together.calls) == pytest.approx(sum(alone.calls), rel=0.03)
    assert len(together.wrongly_condemned) == len(alone.wrongly_condemned) == 0
    assert len(together.refused_stale) == pytest.approx(len(alone.refused_stale), rel=0.05)
    for times in ("refused_stale", "stale_after_the_end", "verdict"):
        mine, others = getattr(together, times), getattr(alone, times)
        assert bool(mine) is bool(others)
        if mine:
            assert np.median(mine) == pytest.approx(np.median(others), rel=0.1)
            assert max(mine) == pytest.approx(max(others), rel=0.15)


class EachOnItsOwn(RefusalSimulation):
    """Also decides for every member of a group, and counts who would be told otherwise."""

    members = others = 0

    def _decide(self, users: Users, at: Times) -> int:
        verdicts = [self._own_outcome(int(user), float(now)) for user, now in zip(users, at)]  # noqa: B905
        kind = super()._decide(users, at)
        condemned = ~np.isnan(self.condemned_at[users])
        expected = np.array(verdicts) == Outcome.RECONNECT_REQUIRED
        self.members += users.size
        self.others += int(np.count_nonzero(condemned != expected))
        return kind

    def _own_outcome(self, user: int, now: float) -> Outcome:
        claim = self._claim(user, now)
        refused_at = float(self.suspected_at[user]) if claim.suspected else now
        before = int(self.refused_before[user])
        seen = self.events.evidence(claim, refused_at=refused_at, refused_before=before)
        return decide(claim, Refusal(), seen, False, 0.5).outcome


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.01, 2 / 3])
def test_the_first_of_a_group_speaks_for_the_others(share: float) -> None:
    fault = next(fault for fault in runs.truths(3000) if fault.share == 2 / 3)
    simulation = EachOnItsOwn(replace(fault, share=share, longest=7 * HOUR), seed=1, alone=False)

    simulation.run()

    assert simulation.members > 50
    assert simulation.others <= simulation.members * 0.01


# The evidence.

KINDS = {
    GRANTED: [(Cause.SCHEDULE, Outcome.REFRESHED, "")],
    REFUSED: [
        (Cause.SCHEDULE, Outcome.SUSPECTED, "invalid_grant"),
        (Cause.SCHEDULE, Outcome.RECONNECT_REQUIRED, "invalid_grant"),
    ],
    UNCOUNTED: [
        (Cause.SCHEDULE, Outcome.RECONNECT_REQUIRED, "six_months_over"),
        (Cause.APPEAL, Outcome.RECONNECT_REQUIRED, "invalid_grant"),
        (Cause.APPEAL, Outcome.REFRESHED, ""),
        (Cause.LOGIN, Outcome.CONNECTED, ""),
    ],
}
"""The events that each kind stands for."""


def recorded(
    people: Sequence[User], users: NDArray[np.int32], kinds: NDArray[np.int8], ago: Times
) -> datetime:
    """Put the same events into PostgreSQL; what its clock said."""
    now = connections.database_now()
    rows = []
    for number, (user, kind, seconds) in enumerate(zip(users, kinds, ago, strict=True)):
        possible = KINDS[int(kind)]
        cause, outcome, error = possible[number % len(possible)]
        at = now - timedelta(seconds=float(seconds))
        what = {"cause": cause, "outcome": outcome, "error": error, "duration_ms": 200}
        rows.append(TokenEvent(user=people[user], at=at, **what))
    TokenEvent.objects.bulk_create(rows)
    return now


@pytest.mark.django_db
@pytest.mark.parametrize("sample", [7, 40, 500])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_the_evidence_is_what_the_sql_says(
    monkeypatch: pytest.MonkeyPatch, sample: int, share: float
) -> None:
    monkeypatch.setattr(history, "SAMPLE", sample)
    random = np.random.default_rng(sample)
    people = [User.objects.create(account_id=f"user-{n}") for n in range(40)]
    me = people[0]
    grant = Grant(access_token="a", refresh_token="r", expires_in=3600, scope="")
    connections.connect(user_id=me.pk, grant=grant, issued_at=connections.database_now())
    TokenEvent.objects.all().delete()
    size = 600
    users = random.integers(0, len(people), size, dtype=np.int32)
    kinds = random.choice(
        np.array([GRANTED, REFUSED, UNCOUNTED], np.int8), size, p=[0.95 - share, share, 0.05]
    )
    ago = np.sort(random.random(size) * 3000)[::-1] + 1
    now = recorded(people, users, kinds, ago)
    events = Events()
    events.add(-ago, np.array([person.pk for person in people], np.int32)[users], kinds)

    for since in (2.0, 30.0, 600.0, 1500.0, 2990.0, 4000.0):
        SpotifyToken.objects.filter(pk=me.pk).update(suspected_at=now - timedelta(seconds=since))
        claim = claim_of(me.pk, suspected_for=since)
        seen = history.evidence(claim, Refusal())
        # How often this token was refused is a count of its own in the simulation.
        before = seen.refused_before
        computed = events.evidence(claim, refused_at=-since, refused_before=before)

        assert computed == seen
        assert seen.others_answered > 0


def test_events_keep_their_order_when_there_are_many() -> None:
    events = Events()
    for first in range(0, 5000, 500):
        numbers = np.arange(first, first + 500)
        events.add(numbers.astype(float), numbers.astype(np.int32), REFUSED)

    assert events.others(4999, refused_at=2000.0) == (60 + 500 + 499, 60 + 500 + 499)


def test_the_lanes_are_the_default_or_twice_the_need() -> None:
    assert [usual_lanes(users) for users in runs.SIZES] == [64, 64, 148]


@pytest.mark.slow
def test_the_command_runs_one_part_without_any_settings(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME"}}
    command = [sys.executable, "-m", "benchmarks.simulation", "refusals", "--quick"]
    finished = subprocess.run(
        [*command, "--into", str(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )

    assert finished.returncode == 0, finished.stderr
    page = (tmp_path / "simulation-refusals.md").read_text()
    assert page.count("| 90 % of users |") == len(runs.DURATIONS)
    assert "| 200, another client id |" in page
    assert list(tmp_path.iterdir()) == [tmp_path / "simulation-refusals.md"]
