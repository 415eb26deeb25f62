"""Users, lanes and a Spotify that refuses: a sweep at a time, every user by itself.

Nobody is sampled. At each sweep the lanes take the most urgent due tokens, then appeals, as far
as they come in ten seconds. Each refusal is put to the service's own `decide`, with what the
history says. Where there are more than `ALONE` users, those who are in the same situation at a
sweep are decided by one call, with as many random numbers: the most urgent of them speaks for all.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulation.refusals.arrays import Times, Users
from benchmarks.simulation.refusals.due import DueCalendar
from benchmarks.simulation.refusals.events import GRANTED, REFUSED, UNCOUNTED, Events
from benchmarks.simulation.refusals.result import Result
from benchmarks.simulation.refusals.scenario import HOUR, LATENCY_SECONDS, Fault, Refused
from benchmarks.simulation.scenario import LIFETIME_SECONDS, SWEEP_SECONDS
from spotify_auth import schedule
from spotify_auth.accounts_service.answers import Granted
from spotify_auth.accounts_service.answers import Refused as Refusal
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.conf import DEFAULTS
from spotify_auth.failure_codes import FailureCode
from spotify_auth.models import Cause, Outcome, SpotifyToken
from spotify_auth.refresh.claims import Claim
from spotify_auth.refresh.decisions import StoreFailure, StoreGrant, decide
from spotify_auth.refresh.history import Evidence

ALONE = 20_000
"""Up to this number of users each refusal is decided by itself."""
ALIKE_SECONDS, YOUNG_SECONDS = 60.0, 1200.0
"""Among more users than that, who were first refused in the same minute are in the same situation
if they were refused as often; after twenty minutes, in the same five minutes."""
MINIMUM_SECONDS = float(DEFAULTS["ACCESS_TOKEN_MINIMUM_SECONDS"])
"""Pages hold a token with less life than this for stale."""

GRANT = Grant(access_token="a", refresh_token="r", expires_in=int(LIFETIME_SECONDS), scope="")


class RefusalSimulation:
    """One run. `alone`: decide each refusal by itself, whatever the number of users."""

    def __init__(self, fault: Fault, *, seed: int, alone: bool | None = None) -> None:
        self.fault = fault
        self.result = Result(fault=fault)
        self.events = Events()
        self.alone = fault.users <= ALONE if alone is None else alone
        self.random = np.random.default_rng(seed)
        self.sweep = 0
        size = fault.users
        wait = self._refresh_after(size)
        self.due: Times = self.random.random(size) * wait
        """When the token, or the appeal against its verdict, is due."""
        self.expires: Times = self.due + LIFETIME_SECONDS - wait
        self.suspected_at = np.full(size, np.nan)
        self.refused_before = np.zeros(size, np.int16)
        self.failures = np.zeros(size, np.int16)
        self.condemned_at = np.full(size, np.nan)
        self.appeals = np.zeros(size, np.int8)
        self.victims = np.zeros(size, bool)
        """Whom Spotify refuses, while the fault lasts."""
        self.calendar = DueCalendar(size)
        self.waiting = self.appealing = np.empty(0, np.int32)
        self.calendar.plan(np.arange(size, dtype=np.int32), self.due, after=0)

    def run(self) -> Result:
        """Simulate until all is over."""
        per_sweep = int(self.fault.per_second * SWEEP_SECONDS)
        begun, now = False, 0.0
        while not self._is_over(now):
            self.sweep += 1
            now = self.sweep * SWEEP_SECONDS
            if not begun and now >= self.fault.begins:
                begun = True
                self._begin()
            if begun and self.fault.logins_an_hour and self.sweep % 6 == 0:
                self._log_in(now, 6 * SWEEP_SECONDS)
            self._find_due()
            taken, self.waiting = self.waiting[:per_sweep], self.waiting[per_sweep:]
            room = per_sweep - taken.size
            asked, self.appealing = self.appealing[:room], self.appealing[room:]
            users = np.concatenate((taken, asked))
            self.result.count_calls(now, users.size)
            if users.size:
                self._serve(users, now + np.arange(users.size) / self.fault.per_second)
        self._end(now)
        return self.result

    def _is_over(self, now: float) -> bool:
        if now >= self.fault.begins + self.fault.longest:
            return True
        well_again = now >= self.fault.ends + HOUR
        return well_again and bool(np.isnan(self.suspected_at).all())

    def _begin(self) -> None:
        if self.fault.refused is not Refused.ANSWERS:
            count = round(self.fault.users * self.fault.share)
            self.victims[self.random.permutation(self.fault.users)[:count]] = True
        if not self.fault.lies:
            self.result.dead = int(np.count_nonzero(self.victims))

    def _find_due(self) -> None:
        users = self.calendar.take(self.sweep)
        users = users[np.argsort(self.due[users], kind="stable")]
        condemned = ~np.isnan(self.condemned_at[users])
        self.waiting = np.concatenate((self.waiting, users[~condemned]))
        self.appealing = np.concatenate((self.appealing, users[condemned]))

    def _refused(self, users: Users, answered: Times) -> NDArray[np.bool_]:
        lasts = (answered >= self.fault.begins) & (answered < self.fault.ends)
        if self.fault.refused is Refused.ANSWERS:
            chance: NDArray[np.bool_] = self.random.random(users.size) < self.fault.share
            return lasts & chance
        victims: NDArray[np.bool_] = lasts & self.victims[users]
        return victims

    def _serve(self, users: Users, at: Times) -> None:
        answered = at + LATENCY_SECONDS
        refused = self._refused(users, answered)
        # An appeal says nothing of the others, whatever is answered.
        kinds = np.where(np.isnan(self.condemned_at[users]), GRANTED, UNCOUNTED)
        if not self.alone:
            kinds[refused] = self._decide_together(users[refused], at[refused])
            self.events.add(answered, users, kinds)
        else:
            first = 0
            for place in map(int, np.nonzero(refused)[0]):
                # The history holds what was answered before, and nothing later.
                before, one = slice(first, place), slice(place, place + 1)
                self.events.add(answered[before], users[before], kinds[before])
                kinds[place] = self._decide(users[one], at[one])
                first = place
            self.events.add(answered[first:], users[first:], kinds[first:])
        self._grant(users[~refused], at[~refused])
        self.calendar.plan(users, self.due[users], after=self.sweep)

    def _grant(self, users: Users, at: Times) -> None:
        answered = at + LATENCY_SECONDS
        condemned = ~np.isnan(self.condemned_at[users])
        self._note_staleness(users, answered)
        self.result.wrongly_condemned.extend((answered - self.condemned_at[users])[condemned])
        situation = condemned * 2 + (self.expires[users] < at)
        for number in np.unique(situation):
            these = np.nonzero(situation == number)[0]
            claim = self._claim(int(users[these[0]]), float(at[these[0]]))
            fractions: Any = self.random.random(these.size)
            decision = decide(claim, Granted(GRANT), Evidence(), False, fractions)
            assert isinstance(decision.write, StoreGrant)
            self.due[users[these]] = at[these] + decision.write.due_in
        self.expires[users] = at + LIFETIME_SECONDS
        self._forgive(users)

    def _forgive(self, users: Users) -> None:
        self.suspected_at[users] = self.condemned_at[users] = np.nan
        self.refused_before[users] = self.failures[users] = self.appeals[users] = 0

    def _decide_together(self, users: Users, at: Times) -> NDArray[np.int8]:
        """Decide for users in the same situation at once; what the history says of each."""
        kinds = np.empty(users.size, np.int8)
        if not users.size:
            return kinds
        since = self.suspected_at[users]
        young = at - since < YOUNG_SECONDS
        since = np.where(young, since // ALIKE_SECONDS, since // (5 * ALIKE_SECONDS))
        condemned = ~np.isnan(self.condemned_at[users])
        situation = np.stack(
            (
                np.where(condemned, self.appeals[users], np.nan_to_num(since, nan=-1.0)),
                np.where(young, self.refused_before[users], 0),
                young + 2 * (self.expires[users] < at) + 4 * condemned,
            )
        )
        order = np.lexsort(situation)
        changes = np.any(np.diff(situation[:, order], axis=1) != 0, axis=0)
        for these in np.split(order, np.nonzero(changes)[0] + 1):
            kinds[these] = self._decide(users[these], at[these])
        return kinds

    def _decide(self, users: Users, at: Times) -> int:
        """Decide on one refusal, or on several like the first; what the history says of them."""
        user, now = int(users[0]), float(at[0])
        claim = self._claim(user, now)
        refused_at = float(self.suspected_at[user]) if claim.suspected else now
        seen = self.events.evidence(
            claim, refused_at=refused_at, refused_before=int(self.refused_before[user])
        )
        fractions: Any = self.random.random(users.size)
        decision = decide(claim, Refusal(), seen, False, fractions)
        self.result.decided += 1
        assert isinstance(decision.write, StoreFailure)
        answered = at + LATENCY_SECONDS
        self.failures[users] += 1
        if not self.fault.lies:
            self._note_dead(users, answered, decision.write.status)
        if decision.outcome is Outcome.SUSPECTED:
            first = np.isnan(self.suspected_at[users])
            self.suspected_at[users[first]] = answered[first]
            self.refused_before[users] += 1
            self.due[users] = answered + decision.write.due_in
        else:
            new = np.isnan(self.condemned_at[users])
            self.condemned_at[users[new]] = answered[new]
            self.appeals[users] = decision.write.appeals
            again = decision.write.appeal_in
            self.due[users] = np.inf if again is None else answered + again
        expected = claim.is_appeal or decision.write.error == FailureCode.SIX_MONTHS_OVER
        return UNCOUNTED if expected else REFUSED

    def _claim(self, user: int, at: float) -> Claim:
        suspected_at = self.suspected_at[user]
        condemned = not np.isnan(self.condemned_at[user])
        six_months = self.fault.refused is Refused.SIX_MONTHS and bool(self.victims[user])
        return Claim(
            user_id=user,
            generation=1,
            sealed_refresh_token=b"",
            cause=Cause.APPEAL if condemned else Cause.SCHEDULE,
            requested_by="",
            failures=int(self.failures[user]),
            suspected_for=None if np.isnan(suspected_at) else at - float(suspected_at),
            status=SpotifyToken.Status.RECONNECT_REQUIRED
            if condemned
            else SpotifyToken.Status.ACTIVE,
            appeals=int(self.appeals[user]),
            last_error=_error_of(six_months) if condemned else "",
            lifetime=LIFETIME_SECONDS,
            lifetime_used=at - float(self.expires[user]) + LIFETIME_SECONDS,
            claimed_at="",
            six_months_over=six_months,
            deactivated=False,
            waited=at - float(self.due[user]),
            due_at="",
        )

    def _log_in(self, now: float, seconds: float) -> None:
        """Some of those whose page offers a login take it, and get a new pair."""
        told = ~np.isnan(self.condemned_at)
        stopped = ~np.isnan(self.suspected_at) & (self.expires - MINIMUM_SECONDS < now)
        may = np.nonzero(self.victims & (told | stopped))[0].astype(np.int32)
        mean = may.size * self.fault.logins_an_hour * seconds / HOUR
        count = min(may.size, int(self.random.poisson(mean)))
        users = self.random.choice(may, count, replace=False)
        if not users.size:
            return
        self.victims[users] = False
        self._forgive(users)
        self.expires[users] = now + LIFETIME_SECONDS
        self.due[users] = now + self._refresh_after(users.size)
        self.waiting = self.waiting[~np.isin(self.waiting, users)]
        self.appealing = self.appealing[~np.isin(self.appealing, users)]
        self.calendar.plan(users, self.due[users], after=self.sweep)
        # After the last answer of the sweep before.
        self.events.add(np.full(users.size, now + LATENCY_SECONDS), users, UNCOUNTED)

    def _note_staleness(self, users: Users, answered: Times) -> None:
        stale_from = self.expires[users] - MINIMUM_SECONDS
        stale = answered - stale_from
        well = np.isnan(self.suspected_at[users]) & np.isnan(self.condemned_at[users])
        if well.any():
            self.result.least_left = min(self.result.least_left, float(-stale[well].max()))
        self.result.healthy_stale.extend(stale[well & (stale > 0)])
        refused = ~well & (stale > 0)
        self.result.refused_stale.extend(stale[refused])
        after = answered - np.maximum(stale_from, self.fault.ends)
        self.result.stale_after_the_end.extend(after[refused & (after > 0)])

    def _note_dead(self, users: Users, answered: Times, status: SpotifyToken.Status) -> None:
        wait = np.maximum(0.0, answered - self.expires[users] + MINIMUM_SECONDS)
        untold = np.isnan(self.condemned_at[users])
        unsuspected = untold & np.isnan(self.suspected_at[users])
        # A page that has stopped offers the login from the first refusal on.
        self.result.button.extend(wait[unsuspected])
        if status == SpotifyToken.Status.RECONNECT_REQUIRED:
            self.result.verdict.extend(wait[untold])

    def _end(self, now: float) -> None:
        self.result.ended = now
        condemned = ~np.isnan(self.condemned_at)
        well = np.isnan(self.suspected_at) & ~condemned
        if self.fault.lies:
            self.result.wrongly_condemned.extend(now - self.condemned_at[condemned])
        else:
            self.result.never_told = int(np.count_nonzero(self.victims & ~condemned))
            well &= ~self.victims
        stale = now - self.expires + MINIMUM_SECONDS
        self.result.healthy_stale.extend(stale[well & (stale > 0)])

    def _refresh_after(self, size: int) -> Times:
        fractions: Any = self.random.random(size)
        # The schedule's own functions take an array of fractions as well as one.
        waits: Any = schedule.refresh_after(LIFETIME_SECONDS, fraction=fractions)
        return np.asarray(waits)


def _error_of(six_months: bool) -> str:
    return FailureCode.SIX_MONTHS_OVER if six_months else FailureCode.INVALID_GRANT
