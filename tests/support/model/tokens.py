"""What must be: a small model of the tokens, of Spotify and of what workers tell each other.

Pure: no database, no Redis, no HTTP, no clock. `tests/spotify_auth/refresh/test_state_machine.py`
does each thing to the model and to the real service, and compares the two. Times are
virtual seconds; who is due is told by the caller, since due times are jittered.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple

from spotify_auth.models import Cause, Outcome
from tests.support.model.hints import DAY, Hints, Moment, Rescue
from tests.support.model.spotify import Answer, Approval, Kind, Pair, Weather, ask

LIFETIME = 3600.0
SIX_MONTHS = 185 * DAY
SMALLEST_LIFE = 10.0
"""ACCESS_TOKEN_MINIMUM_SECONDS."""
OUTAGE_REFUSALS, OUTAGE_SHARE, OUTAGE_LONGEST = 3, 0.5, 6 * 3600.0
REFUSALS_NEEDED, CONFIRMED, SHORTLY_BEFORE = 3, LIFETIME / 6, 60.0
APPEALS, APPEAL_AGAIN = (3600.0, 5 * 3600.0, 18 * 3600.0), 300.0
CLIENTS_REFUSED, CLIENT_REFUSED_LONGEST = 3, 6 * 3600.0
FAILED_IN_A_ROW, PAUSE_WHEN_UNAVAILABLE = 50, 5.0
LONGEST_BACK_OFF = 2 * 3600.0
"""A token that is put off for longer is asked for again by the first page that wants it."""
PAUSE_WHEN_REFUSED, PAUSE_WHEN_LIMITED = 60.0, 30.0


NEVER = Moment(0, 0.0)


class Event(NamedTuple):
    """One row of the history."""

    cause: str
    outcome: str
    before: int | None
    after: int | None
    rotated: bool
    error: str


@dataclass(frozen=True)
class Login:
    """A log-in that Spotify has approved and that has not come back to us yet."""

    pair: Pair
    began: Moment


class Reading(Enum):
    """What a reader gets."""

    TOKEN = auto()
    NOT_CONNECTED = auto()
    RECONNECT_REQUIRED = auto()
    STALE = auto()


@dataclass
class Person:
    """One user: the row, the history, and what Spotify has counted."""

    status: str | None = None
    active: bool = True
    """May log in."""
    generation: int = 0
    pair: Pair | None = None
    scope: str = ""
    cause: str = Cause.SCHEDULE
    nudged: bool = False
    failures: int = 0
    suspected: Moment | None = None
    last_error: str = ""
    authorized: Moment = NEVER
    refreshed: Moment = NEVER
    put_off_until: float = 0.0
    """When nothing was tried: by an attempt in doubt, or since the user is deactivated."""
    appeal_at: float | None = None
    appeals: int = 0
    closed: Moment | None = None
    locked: bool = False
    adrift: bool = False
    """An exchange is in flight whose lock is gone with its session."""
    overlapped: bool = False
    """Only without its mark in Redis can another exchange have begun meanwhile."""
    events: list[tuple[float, Event]] = field(default_factory=list)
    approvals: list[Approval] = field(default_factory=list)
    requests: int = 0
    reuses: int = 0


@dataclass
class Flight:
    """One refresh under way, from its claim to its commit."""

    key: str
    generation: int
    cause: str
    claimed: Moment
    appeal: bool
    probing: bool
    weather: Weather
    pair: Pair
    rescue: Rescue | None = None
    in_doubt: bool = False
    asleep: bool = False
    """The user may not log in, so Spotify is not asked."""
    unanswered: bool = False
    lost_just_now: bool = False
    answer: Answer | None = None


class Model:
    """All people, and what they share."""

    def __init__(self, keys: Sequence[str], *, rotates: bool) -> None:
        """`rotates`: whether Spotify answers a refresh with a new refresh token."""
        self.people = {key: Person() for key in keys}
        self.hints = Hints()
        self.now = 0.0
        self._order = 0
        self._approvals = 0
        self._rotates = rotates
        self._exchanges: list[tuple[float, Person, Event]] = []

    def moment(self) -> Moment:
        """The present, later than all that was before."""
        self._order += 1
        return Moment(self._order, self.now)

    # People.

    def login_begins(self, key: str, scope: str) -> Login:
        """The person approves on Spotify."""
        approval = Approval(number=self._approvals, scope=scope, rotates=self._rotates)
        self._approvals += 1
        self.people[key].approvals.append(approval)
        return Login(Pair(approval, 1, 1), self.moment())

    def login_returns(self, key: str, login: Login) -> bool:
        """False when it is older than what is stored, or than the closing of it."""
        person = self.people[key]
        if person.status == "active" and person.authorized > login.began:
            return False
        if person.closed and person.closed > login.began:
            return False
        person.status = "active"
        person.generation += 1
        person.pair, person.scope = login.pair, login.pair.approval.scope
        person.authorized = person.refreshed = login.began
        self._forgive(person)
        self._happened(person, Cause.LOGIN, Outcome.CONNECTED, None, person.generation, True)
        return True

    def close(self, key: str, *, by_admin: bool) -> bool:
        """Disconnect or revoke: the tokens are erased."""
        person = self.people[key]
        if person.status not in {"active", "reconnect_required"}:
            return False
        person.closed = self.moment()
        person.status = "revoked" if by_admin else "disconnected"
        person.pair = person.suspected = None
        cause = Cause.ADMIN if by_admin else Cause.DISCONNECT
        outcome = Outcome.REVOKED if by_admin else Outcome.DISCONNECTED
        self._happened(person, cause, outcome, person.generation, None)
        return True

    def removed_at_spotify(self, key: str, *, access_tokens: bool) -> None:
        """The person removes the application from the account."""
        for approval in self.people[key].approvals:
            approval.ended = True
            approval.access_tokens_dead |= access_tokens

    def time_passes(self, seconds: float) -> None:
        """For everybody, and for the workers' hints."""
        self.now += seconds
        self.hints.time_passes(self.now, seconds)
        if seconds >= SIX_MONTHS:
            for person in self.people.values():
                for approval in person.approvals:
                    approval.ended = True

    # Reading.

    def read(self, key: str) -> Reading:
        """What `access_token_for` says."""
        person = self.people[key]
        if person.status == "reconnect_required":
            return Reading.RECONNECT_REQUIRED
        if person.status != "active":
            return Reading.NOT_CONNECTED
        left = person.refreshed.at + LIFETIME - self.now
        return Reading.TOKEN if left > SMALLEST_LIFE else Reading.STALE

    def nudge(self, key: str, *, generation: int, cause: Cause) -> bool:
        """Whether the complaint makes the token due."""
        person = self.people[key]
        by_admin = cause is Cause.ADMIN
        is_well = not person.suspected and (by_admin or not person.failures)
        if (
            person.status != "active"
            or person.locked
            or generation != person.generation
            or person.nudged
            or not (is_well or person.put_off_until - self.now > LONGEST_BACK_OFF)
            or not (by_admin or self.now - person.refreshed.at > 30)
        ):
            return False
        person.nudged, person.cause, person.put_off_until = True, cause, 0.0
        return True

    # Refreshing.

    def claim(
        self, due: Sequence[str], weather: Weather, appeals: Sequence[str] = ()
    ) -> Flight | None:
        """Take the first of those who are due and free, and ask Spotify once.

        `appeals`: whose verdict may be appealed, if nobody is due. None when there is none,
        or when all pause. The row stays locked until `finish`.
        """
        free = [key for key in (*due, *appeals) if not self.people[key].locked]
        if not free:
            return None
        admitted, probing = self.hints.admit(self.now)
        if not admitted:
            return None
        if probing and not self._is_healthy(free[0]):
            # A lane looks for another one; a nudge is about one user only.
            free = [key for key in free if self._is_healthy(key)] if len(due) > 1 else []
            if not free:
                self.hints.another_may_probe()
                return None
        person = self.people[free[0]]
        assert person.pair
        appeal = person.status == "reconnect_required"
        flight = Flight(
            key=free[0],
            generation=person.generation,
            cause=Cause.APPEAL if appeal else person.cause,
            claimed=self.moment(),
            appeal=appeal,
            probing=probing,
            weather=weather,
            pair=person.pair,
        )
        place = (flight.key, flight.generation)
        flight.rescue, flight.in_doubt, flight.unanswered = self.hints.begin(
            place, self.now, flight
        )
        if not flight.rescue and not flight.in_doubt:
            flight.asleep = not person.active
            flight.answer = None if flight.asleep else self._ask(flight, again=False)
        person.locked = True
        return flight

    def _is_healthy(self, key: str) -> bool:
        person = self.people[key]
        return person.status == "active" and not person.suspected and not person.failures

    def cut(self, flight: Flight) -> None:
        """The database session ends, and the lock with it, while the exchange goes on."""
        person = self.people[flight.key]
        person.locked, person.adrift = False, True

    def finish(
        self, flight: Flight | None, *, cut: bool = False, unacknowledged: bool = False
    ) -> Outcome | None:
        """Write what came of it, and free the row.

        `cut`: the database session ends between the first answer and the write.
        `unacknowledged`: the commit comes through, but its acknowledgement does not.
        """
        if flight is None:
            return None
        person, place = self.people[flight.key], (flight.key, flight.generation)
        person.locked = person.adrift = False
        if flight.answer and flight.answer.kind is Kind.UNKNOWN:
            if cut:
                flight.unanswered = True  # the lane asks whether it has its lock still
            else:
                self._answer_again(flight)
        if flight.answer:
            flight.lost_just_now |= flight.answer.unreadable
        flight.unanswered |= flight.lost_just_now
        rescue = flight.rescue or self._granted(flight)
        known = flight.unanswered
        outcome = None if cut else self._write(flight, rescue)
        if unacknowledged:
            flight.unanswered = known  # the lane forgets what it has read in the history
        elif outcome is Outcome.RECONNECT_REQUIRED:
            flight.unanswered = False
        if rescue and (cut or unacknowledged):
            if not self.hints.rescue(place, rescue) and cut:
                self._store(flight, rescue, cause=Cause.RESCUE)
        elif outcome is Outcome.REFRESHED:
            assert rescue
            self.hints.stored(place, rescue, self.now)
        elif not flight.in_doubt:
            self.hints.end(place, flight, unanswered=flight.unanswered)
        if flight.probing:
            # A grant tells that Spotify is well, stored or not; one rescued earlier does not.
            if rescue and not flight.rescue:
                self.hints.pause_is_over()
            else:
                self.hints.another_may_probe()
        return outcome

    def _ask(self, flight: Flight, *, again: bool) -> Answer:
        person = self.people[flight.key]
        person.requests += 1
        person.overlapped |= person.adrift
        answer, reused = ask(flight.pair, flight.weather, again=again)
        person.reuses += reused
        return answer

    def _answer_again(self, flight: Flight) -> None:
        """No answer came, so Spotify is asked once more; a refusal then means "lost"."""
        flight.answer = self._ask(flight, again=True)
        flight.lost_just_now = flight.answer.kind is not Kind.GRANTED

    @staticmethod
    def _granted(flight: Flight) -> Rescue | None:
        if flight.answer is None or flight.answer.pair is None:
            return None
        return Rescue(flight.answer.pair, flight.answer.rotated, flight.claimed)

    def _write(self, flight: Flight, rescue: Rescue | None) -> Outcome | None:
        person, answer = self.people[flight.key], flight.answer
        if flight.in_doubt or flight.asleep:
            person.nudged = False
            person.put_off_until = self.now + (DAY if flight.asleep else 2.0)
            if flight.appeal:
                person.appeal_at = self.now + (DAY if flight.asleep else 2.0)
            return Outcome.RETRY
        if rescue:
            self._store(flight, rescue, cause=Cause.RESCUE if flight.rescue else flight.cause)
            flight.unanswered = False
            return Outcome.REFRESHED
        assert answer
        if flight.appeal:
            return self._appeal_again(flight, person, answer)
        if answer.kind is Kind.REFUSED:
            return self._refused(flight, person)
        error = answer.error
        if answer.kind is Kind.LIMITED:
            seconds = answer.seconds or PAUSE_WHEN_LIMITED
            self.hints.start_pause(self.now, seconds, half_open=0.0)
            error = "rate_limited"
        elif answer.kind is Kind.CLIENT_REFUSED:
            error = "invalid_client"
            if self._client_refused_too_long(person):
                return self._condemn(flight, person, "client_refused")
            if flight.probing or self._clients_are_refused(person):
                self.hints.start_pause(self.now, PAUSE_WHEN_REFUSED)
        elif flight.probing or self._nobody_is_answered():
            self.hints.start_pause(self.now, PAUSE_WHEN_UNAVAILABLE)
        lost = flight.lost_just_now
        return self._fail(flight, person, Outcome.ANSWER_UNKNOWN if lost else Outcome.RETRY, error)

    def _appeal_again(self, flight: Flight, person: Person, answer: Answer) -> Outcome:
        if answer.kind is Kind.LIMITED:
            seconds = answer.seconds or PAUSE_WHEN_LIMITED
            self.hints.start_pause(self.now, seconds, half_open=0.0)
        refused = answer.kind is Kind.REFUSED or (
            answer.kind is Kind.CLIENT_REFUSED and not self._clients_are_refused(person)
        )
        person.appeals += refused
        if not refused:
            person.appeal_at = self.now + APPEAL_AGAIN
            return self._fail(flight, person, Outcome.RETRY, person.last_error)
        left = APPEALS[person.appeals :]
        person.appeal_at = self.now + left[0] if left else None
        return self._fail(flight, person, Outcome.RECONNECT_REQUIRED, person.last_error)

    def _condemn(self, flight: Flight, person: Person, error: str) -> Outcome:
        person.status = "reconnect_required"
        person.appeals, person.appeal_at = 0, self.now + APPEALS[0]
        flight.unanswered = False
        return self._fail(flight, person, Outcome.RECONNECT_REQUIRED, error)

    def _refused(self, flight: Flight, person: Person) -> Outcome:
        flight.unanswered |= any(
            event.before == person.generation
            and (event.outcome == Outcome.ANSWER_UNKNOWN or event.error == "answer_lost")
            for _, event in person.events
        )
        if self.now - person.authorized.at >= SIX_MONTHS:
            return self._condemn(flight, person, "six_months_over")
        error = "answer_lost" if flight.unanswered else "invalid_grant"
        if self._is_believed(person):
            return self._condemn(flight, person, error)
        outcome = self._fail(flight, person, Outcome.SUSPECTED, error)
        person.suspected = person.suspected or self.moment()
        return outcome

    def _is_believed(self, person: Person) -> bool:
        if person.suspected is None:
            return False
        since = self.now - person.suspected.at
        before = sum(
            event.outcome == Outcome.SUSPECTED and at >= person.suspected.at
            for at, event in person.events
        )
        return (
            self.now - person.refreshed.at > LIFETIME
            and before + 1 >= REFUSALS_NEEDED
            and since >= CONFIRMED
            and (self._refusals_are_rare(person) or since >= OUTAGE_LONGEST)
        )

    def _refusals_are_rare(self, person: Person) -> bool:
        assert person.suspected
        refusals = {Outcome.SUSPECTED, Outcome.RECONNECT_REQUIRED}
        recent = [
            (id(other), event.outcome in refusals)
            for other in self.people.values()
            for at, event in other.events
            if other is not person
            and at > person.suspected.at - SHORTLY_BEFORE
            and event.error != "six_months_over"
            and event.cause != Cause.APPEAL
            and event.outcome in {*refusals, Outcome.REFRESHED}
        ]
        refused = len({other for other, was_refused in recent if was_refused})
        answered = len({other for other, _ in recent})
        return refused < OUTAGE_REFUSALS or refused < OUTAGE_SHARE * answered

    def _clients_are_refused(self, person: Person) -> bool:
        refused = {id(person)}
        for at, other, event in reversed(self._exchanges[-50:]):
            if self.now - at >= 60 or event.outcome == Outcome.REFRESHED:
                break
            if event.error == "invalid_client":
                refused.add(id(other))
        return len(refused) >= CLIENTS_REFUSED

    def _client_refused_too_long(self, person: Person) -> bool:
        mine = [
            at
            for at, event in person.events
            if event.before == person.generation and event.error == "invalid_client"
        ]
        served = any(
            event.outcome == Outcome.REFRESHED and self.now - at < 600
            for at, _, event in self._exchanges
        )
        return served and bool(mine) and self.now - min(mine) >= CLIENT_REFUSED_LONGEST

    def _nobody_is_answered(self) -> bool:
        failed = {Outcome.RETRY, Outcome.ANSWER_UNKNOWN}
        latest = self._exchanges[1 - FAILED_IN_A_ROW :]
        return len(latest) == FAILED_IN_A_ROW - 1 and all(
            event.outcome in failed and self.now - at < 60 for at, _, event in latest
        )

    def _store(self, flight: Flight, rescue: Rescue, *, cause: str) -> None:
        """Only over the generation that was claimed, and only while it is connected."""
        person = self.people[flight.key]
        claimed = "reconnect_required" if flight.appeal else "active"
        if (person.generation, person.status) != (flight.generation, claimed):
            return
        person.status, person.appeal_at = "active", None
        person.generation += 1
        person.pair, person.refreshed = rescue.pair, rescue.claimed
        self._forgive(person)
        self._happened(
            *(person, cause, Outcome.REFRESHED, flight.generation, person.generation),
            rescue.rotated,
        )

    def _fail(self, flight: Flight, person: Person, outcome: Outcome, error: str) -> Outcome:
        person.failures += 1
        person.nudged, person.cause, person.last_error = False, Cause.SCHEDULE, error
        person.put_off_until = 0.0
        self._happened(
            *(person, flight.cause, outcome, person.generation, person.generation, False, error)
        )
        return outcome

    @staticmethod
    def _forgive(person: Person) -> None:
        person.nudged, person.cause, person.put_off_until = False, Cause.SCHEDULE, 0.0
        person.failures, person.suspected, person.last_error = 0, None, ""

    def _happened(
        self,
        person: Person,
        cause: str,
        outcome: Outcome,
        before: int | None,
        after: int | None,
        rotated: bool = False,
        error: str = "",
    ) -> None:
        event = Event(cause, outcome, before, after, rotated, error)
        person.events.append((self.now, event))
        if outcome not in {Outcome.CONNECTED, Outcome.DISCONNECTED, Outcome.REVOKED}:
            self._exchanges.append((self.now, person, event))
