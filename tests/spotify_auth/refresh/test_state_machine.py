"""Any history at all: what is stored is what a small model says must be stored.

Hypothesis makes up histories of a few people: log-ins, refreshes in all weathers, cut
database sessions, lost answers, late results, a Redis that is away or forgets, pauses,
months that pass. Each step is done to the real service and to the model, and after each
the two are compared: rows, history, hints, what readers get, what Spotify saw.

HISTORIES=3000 tries so many instead of the usual number. SHRINK=1 looks for a shorter history
that fails too, which takes minutes.
"""

import logging
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import Error, OperationalError
from django.db import connection as database
from hypothesis import HealthCheck, Phase, assume
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pytest_django import Settings

from accounts.models import User
from config import celery_app
from spotify_auth import connections, tokens, web_api
from spotify_auth.models import Cause, Outcome
from spotify_auth.refresh import refresher
from spotify_auth.refresh.process import process
from spotify_auth.sandbox.state import account_id_of
from spotify_auth.sandbox.worlds import World as SpotifyWorld
from tests.support.database_faults import commit_unacknowledged
from tests.support.lanes import refresh_next
from tests.support.model import tokens as model
from tests.support.model.hints import DAY
from tests.support.model.spotify import Weather
from tests.support.model.tokens import Flight, Login, Model, Person, Reading
from tests.support.processes import wait_for
from tests.support.real_world import LOOKS_LIKE_A_TOKEN, RealLogin, Row, World
from tests.support.sandbox_client import Sandbox

HISTORIES = int(os.environ.get("HISTORIES", "40"))
PHASES = [Phase.reuse, Phase.generate, *([Phase.shrink] if "SHRINK" in os.environ else [])]
STEPS = 30
LONGEST_SECONDS = 10.0
"""A history that takes longer proves nothing: pauses and marks would end by themselves."""

PEOPLE = [f"user-{n}" for n in range(1, 5)]
SCOPES = ["user-top-read", "user-top-read user-read-recently-played"]

ME: dict[str, tuple[str, dict[str, str | int]]] = {"me": ("/me", {})}

people = st.sampled_from(PEOPLE)
scopes = st.sampled_from(SCOPES)
weathers = st.sampled_from(Weather)
MEANWHILE = ["refresh", "lane", "page", "complain", "log in", "earlier log-in", "disconnect"]
MEANWHILE += ["revoke", "remove", "doubt passes", "redis forgets"]
waits = st.sampled_from([0, 40, 70, 3000, 3000])
"""Nothing; a pause or a doubt; the confirmation of a suspicion; a token's age."""


class TokenMachine(RuleBasedStateMachine):
    """One history. `lane` is a thread for exchanges during which other things happen."""

    def __init__(self, world: World, lane: ThreadPoolExecutor, *, rotates: bool) -> None:
        super().__init__()
        self.world, self.lane = world, lane
        self.model = Model(PEOPLE, rotates=rotates)
        self.logins: list[tuple[str, Login, RealLogin]] = []
        self.world.begin()
        self.began = time.monotonic()

    # People.

    @initialize(scope=scopes, number=st.integers(1, 3))
    def some_are_connected(self, scope: str, number: int) -> None:
        for key in PEOPLE[:number]:  # who is alone is believed, so let somebody be
            self.log_in(key, scope)

    @rule(
        key=people,
        scope=scopes,
        meanwhile=st.lists(st.sampled_from(["log in", "disconnect", "revoke"]), max_size=2),
    )
    def log_in(self, key: str, scope: str, meanwhile: Sequence[str] = ()) -> None:
        """Begin and come back; meanwhile there may be another tab, or an administrator."""
        self.log_in_begins(key, scope)
        login = self.logins.pop()
        for action in meanwhile:
            if action == "log in":
                self.log_in(key, scope)
            else:
                self._close(key, by_admin=action == "revoke")
        self._log_in_returns(*login)

    @rule(key=people, scope=scopes)
    def log_in_begins(self, key: str, scope: str) -> None:
        real = self.world.login_begins(key, scope)
        self.logins.append((key, self.model.login_begins(key, scope), real))

    @precondition(lambda self: self.logins)
    @rule(data=st.data())
    def log_in_returns(self, data: st.DataObject) -> None:
        self._log_in_returns(*self.logins.pop(data.draw(st.integers(0, len(self.logins) - 1))))

    def _log_in_returns(self, key: str, login: Login, real: RealLogin) -> None:
        self.model.login_returns(key, login)
        self.world.login_returns(key, real)

    @rule(key=people, by_admin=st.booleans())
    def disconnect_or_revoke(self, key: str, by_admin: bool) -> None:
        self._close(key, by_admin=by_admin)

    def _close(self, key: str, *, by_admin: bool) -> None:
        expected = self.model.close(key, by_admin=by_admin)
        close = connections.revoke if by_admin else connections.disconnect
        assert close(user_id=self.world.ids[key]) is expected

    @rule(key=people)
    def deactivate_or_activate(self, key: str) -> None:
        person = self.model.people[key]
        person.active = not person.active
        User.objects.filter(pk=self.world.ids[key]).update(is_active=person.active)

    @rule(key=people, access_tokens=st.booleans())
    def remove_the_app_at_spotify(self, key: str, access_tokens: bool) -> None:
        self.model.removed_at_spotify(key, access_tokens=access_tokens)
        self.world.spotify.revoke(key, access_tokens=access_tokens)

    # Time, and Redis.

    @rule(seconds=st.sampled_from([40, 70, 400, 3000, 4000]))
    def time_passes(self, seconds: float) -> None:
        if not seconds:  # it would wait for the row lock of an exchange in flight
            return
        self.model.time_passes(seconds)
        self.world.time_passes(seconds)
        self.logins = [
            (key, login, self.world.older(real, seconds)) for key, login, real in self.logins
        ]

    @rule()
    def six_months_pass(self) -> None:
        self.time_passes(model.SIX_MONTHS)
        self.world.spotify.expire_refresh_token()

    @rule(away=st.booleans())
    def redis_goes_or_comes_back(self, away: bool) -> None:
        self.model.hints.away = away
        self.world.set_redis(away=away)

    @rule()
    def redis_forgets(self) -> None:
        self.model.hints.flush()
        self.world.redis.flushdb()

    # Reading.

    @rule(key=people)
    def page(self, key: str) -> None:
        """A page reads the token, calls the Web API, and nudges where that is called for."""
        person, reading = self.model.people[key], self.model.read(key)
        if reading is not Reading.TOKEN:
            with pytest.raises(ERRORS[reading]):
                web_api.get_all(self.world.ids[key], ME)
            if reading is Reading.STALE:
                self.model.nudge(key, generation=person.generation, cause=Cause.STALE_READ)
            return
        answer = web_api.get_all(self.world.ids[key], ME).get("me")
        assert person.pair
        if person.pair.approval.access_tokens_dead:
            assert answer is None or isinstance(answer, web_api.Unauthorized)
            self.model.nudge(key, generation=person.generation, cause=Cause.UNAUTHORIZED)
        else:
            assert isinstance(answer, dict), answer
            assert answer["account_id"] == account_id_of(key)

    @rule(
        key=people,
        back=st.sampled_from([0, 1]),
        cause=st.sampled_from([Cause.STALE_READ, Cause.UNAUTHORIZED, Cause.ADMIN]),
        after=waits,
    )
    def nudge(self, key: str, back: int, cause: Cause, after: float) -> None:
        """A complaint, perhaps about a generation that has passed."""
        self.time_passes(after)
        generation = max(0, self.model.people[key].generation - back)
        expected = self.model.nudge(key, generation=generation, cause=cause)
        assert tokens.nudge(self.world.ids[key], generation=generation, cause=cause) is expected

    # Refreshing.

    @rule(key=people, attempts=st.lists(st.tuples(waits, weathers), min_size=1, max_size=4))
    def refresh(self, key: str, attempts: list[tuple[float, Weather]]) -> None:
        for after, weather in attempts:
            self.time_passes(after)
            self._refresh(key, weather)
            self.world.hold_still()

    @rule(weather=weathers, after=waits)
    def run_a_lane(self, weather: Weather, after: float) -> None:
        self.time_passes(after)
        for _ in range(3 * len(PEOPLE)):
            if self._refresh(None, weather) is None:
                return
            self.world.hold_still()
        raise AssertionError("the lane found no end")

    def _refresh(self, key: str | None, weather: Weather) -> Outcome | None:
        """Refresh one user's token or the most urgent one, in this thread."""
        flight = self._claim(key, weather)
        before = self.world.rows()
        with self.world.weather(weather):
            outcome = self._refresh_for_real(key)
        assert outcome == self.model.finish(flight)
        if flight and outcome:
            late = before[flight.key].age > before[flight.key].lifetime
            assert_is_due_again(self.world.rows()[flight.key], flight, outcome, late=late)
        return outcome

    def _claim(self, key: str | None, weather: Weather) -> Flight | None:
        process.reset()  # a second has passed: the next claim scans from the start
        self.world.forget_pace()
        due = self.world.due()
        if key is not None:
            return self.model.claim([k for k in due if k == key], weather)
        return self.model.claim(due, weather, appeals=self.world.appeals())

    def _refresh_for_real(self, key: str | None) -> Outcome | None:
        if key is None:
            return refresh_next()
        return refresher.refresh_user(self.world.ids[key])

    @rule(
        key=people,
        weather=st.sampled_from(
            [Weather.CLEAR, Weather.CLEAR, Weather.ROTATION, Weather.NO_ROTATION, Weather.LOST]
        ),
        cut=st.booleans(),
        without_redis=st.booleans(),
        meanwhile=st.lists(
            st.sampled_from(MEANWHILE),
            max_size=4,
        ),
    )
    def things_happen_during_an_exchange(
        self, key: str, weather: Weather, cut: bool, without_redis: bool, meanwhile: list[str]
    ) -> None:
        """Spotify has carried out an exchange and holds its answer; `cut` ends the session."""
        self.time_passes(3000)
        flight = self._claim(key, weather)
        if flight is None or flight.answer is None:
            assert self._refresh_for_real(key) == self.model.finish(flight)
            return
        with self.world.weather(weather, hold=True):
            lane = self.lane.submit(self._in_the_lane, key)
            wait_for(lambda: self.world.spotify.stats()["held"] == 1, what="an exchange in flight")
            if cut:
                self._cut_the_lane()
                self.model.cut(flight)
            # In other weathers the lane's next request must be the one that meets them.
            for action in meanwhile if weather is Weather.CLEAR else ():
                self._meanwhile(action, key, flight, cut=cut)
            was_away = self.model.hints.away
            if without_redis:
                self.redis_goes_or_comes_back(away=True)
            self.world.spotify.release()
            if cut:
                with pytest.raises(Error):
                    lane.result(timeout=60)
                self.model.finish(flight, cut=True)
            else:
                assert lane.result(timeout=60) == self.model.finish(flight)
        self.redis_goes_or_comes_back(away=was_away)

    def _meanwhile(self, action: str, key: str, flight: Flight, *, cut: bool) -> None:
        """Only what does not wait for the row lock, while that is held."""
        if action == "refresh":
            self._refresh(key, Weather.CLEAR)
        elif action == "lane":
            self._refresh(None, Weather.CLEAR)
        elif action == "page":
            self.page(key)
        elif action == "complain":
            self.nudge(key, 0, Cause.ADMIN, 0)
        elif action == "remove":
            self.remove_the_app_at_spotify(key, access_tokens=False)
        elif action == "redis forgets":
            self.redis_forgets()
        elif cut and action == "log in":
            self.log_in(key, SCOPES[0])
        elif cut and action == "earlier log-in" and self.logins:
            self._log_in_returns(*self.logins.pop(0))
        elif cut and action in {"disconnect", "revoke"}:
            self._close(key, by_admin=action == "revoke")
        elif cut and action == "doubt passes":
            self.model.hints.doubt_passes((key, flight.generation))
            self.world.doubt_passes(key, flight.generation, seconds=40)
            self.world.make_due(key)

    def _in_the_lane(self, key: str) -> Outcome | None:
        try:
            database.ensure_connection()
            self.lane_pid = database.connection.info.backend_pid
            return self._refresh_for_real(key)
        finally:
            database.close()

    def _cut_the_lane(self) -> None:
        with database.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 10000)", [self.lane_pid])
            assert cursor.fetchone() == (True,)

    @rule(key=people)
    def the_commit_is_not_acknowledged(self, key: str) -> None:
        """It comes through, and the connection is cut before the lane learns of it."""
        self.time_passes(3000)
        flight = self._claim(key, Weather.CLEAR)
        if flight is None:
            assert self._refresh_for_real(key) is None
            return
        with commit_unacknowledged(), pytest.raises(OperationalError):
            self._refresh_for_real(key)
        self.model.finish(flight, unacknowledged=True)

    # What must hold after each step.

    @invariant()
    def all_is_as_the_model_says(self) -> None:
        assume(time.monotonic() - self.began < LONGEST_SECONDS)
        self.world.hold_still()
        rows, histories = self.world.rows(), self.world.events()
        for key, person in self.model.people.items():
            row = rows.get(key)
            assert (row and stored(row)) == (expected_row(person) if person.status else None), key
            assert [event[:-1] for event in histories[key]] == [e for _, e in person.events], key
            assert_history_is_sound(histories[key], row)
            self._assert_read(key, person)
            if row:
                assert abs(row.age - (self.model.now - person.refreshed.at)) < LONGEST_SECONDS + 5
                assert row.lifetime == model.LIFETIME
                assert row.six_months
                assert not LOOKS_LIKE_A_TOKEN.search(row.text)

    @invariant()
    def redis_holds_what_the_model_says(self) -> None:
        hints, expected = self.world.hints(), self.model.hints
        assert not any(LOOKS_LIKE_A_TOKEN.search(value) for value in hints.values())
        names = {
            **{("attempt", place): "begun" for place in expected.begun},
            **{("attempt", place): "unanswered" for place in expected.unanswered},
            **{("rescued", place): "" for place in expected.rescued},
        }
        keys = {
            f"spotify_auth:{kind}:{self.world.ids[key]}:{generation}": value
            for (kind, (key, generation)), value in names.items()
        }
        pauses = {
            "pause": expected.paused_until is not None,
            "half_open": expected.half_open_until is not None,
            "probe": expected.probing_until is not None,
        }
        keys |= {f"spotify_auth:cooldown:{name}": "" for name, there in pauses.items() if there}
        hints.pop("spotify_auth:mass_refusal", None)
        # What the pages ask is counted there too (`rate_limits`).
        hints = {key: value for key, value in hints.items() if ":limit:" not in key}
        assert set(hints) == set(keys)
        assert all(hints[key].startswith(value) for key, value in keys.items())

    @invariant()
    def spotify_saw_nothing_it_should_not(self) -> None:
        counts = self.world.spotify.stats()["users"]
        for key, person in self.model.people.items():
            if key in counts:
                assert counts[key]["in_flight_max"] <= (2 if person.overlapped else 1)
                assert counts[key]["refreshes_attempted"] == person.requests
                assert counts[key]["reuses_of_dead_token"] == person.reuses

    def _assert_read(self, key: str, person: Person) -> None:
        reading = self.model.read(key)
        if reading is Reading.TOKEN:
            token = tokens.access_token_for(self.world.ids[key])
            assert token.generation == person.generation
        else:
            with pytest.raises(ERRORS[reading]):
                tokens.access_token_for(self.world.ids[key])


ERRORS = {
    Reading.NOT_CONNECTED: tokens.NotConnected,
    Reading.RECONNECT_REQUIRED: tokens.ReconnectRequired,
    Reading.STALE: tokens.TokenStale,
}


def stored(row: Row) -> dict[str, object]:
    """What is compared field by field."""
    names = ["status", "access", "refresh", "scope", "generation", "cause", "failures"]
    return {name: getattr(row, name) for name in [*names, "suspected", "last_error"]}


def expected_row(person: Person) -> dict[str, object]:
    pair = person.pair
    return {
        "status": person.status,
        "access": pair and (pair.approval.number, pair.access),
        "refresh": pair and (pair.approval.number, pair.refresh),
        "scope": person.scope,
        "generation": person.generation,
        "cause": person.cause,
        "failures": person.failures,
        "suspected": person.suspected is not None,
        "last_error": person.last_error,
    }


def assert_is_due_again(row: Row, flight: Flight, outcome: Outcome, *, late: bool) -> None:
    """Not before its time, and not never. `late` if the token that was replaced had expired."""
    if outcome is Outcome.REFRESHED:
        assert (0.3 if late else 0.7) <= row.due_after / row.lifetime <= 0.8
    elif outcome is Outcome.SUSPECTED:
        assert 225 - LONGEST_SECONDS < row.due_in <= 2250
    elif outcome is not Outcome.RECONNECT_REQUIRED:
        most = 2 if flight.in_doubt else DAY if flight.asleep else 300
        assert -LONGEST_SECONDS < row.due_in <= most


def assert_history_is_sound(events: list[tuple[object, ...]], row: Row | None) -> None:
    """Said without the model: one event a generation, and nobody condemned lightly."""
    reached = [after for _, _, before, after, *_ in events if after and after != before]
    assert reached == list(range(1, (row.generation if row else 0) + 1))
    suspected = False
    for _, outcome, _, _, _, error, text in events:
        assert not LOOKS_LIKE_A_TOKEN.search(str(text))
        if outcome == Outcome.RECONNECT_REQUIRED and error not in {
            "six_months_over",
            "client_refused",
        }:
            assert suspected
        suspected |= outcome == Outcome.SUSPECTED
        suspected &= outcome not in {Outcome.REFRESHED, Outcome.CONNECTED}
    if row and row.status in {"disconnected", "revoked"}:
        assert (row.access, row.refresh) == (None, None)


@pytest.fixture
def world(
    spotify: Sandbox,
    spotify_world: SpotifyWorld,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
) -> Iterator[World]:
    """A sandbox with Spotify's own lifetime, so that nothing becomes due by itself."""
    caplog.set_level(logging.CRITICAL)  # thousands of failures that are meant to be
    settings.REDIS_URL = settings.REDIS_URL  # so that it is put back
    celery_app.set_default()  # pytest-celery has made another one the default for threads
    with Sandbox(access_token_lifetime=int(model.LIFETIME), world=spotify_world) as hour_long:
        settings.SPOTIFY_ACCOUNTS_URL = settings.SPOTIFY_API_URL = hour_long.url
        settings.OUTAGE_GUARD_REFUSALS = model.OUTAGE_REFUSALS
        settings.OUTAGE_GUARD_SHARE = model.OUTAGE_SHARE
        settings.OUTAGE_GUARD_LONGEST_SECONDS = model.OUTAGE_LONGEST
        world = World(hour_long, PEOPLE)
        yield world
        world.begin()
        world.redis.close()


@pytest.mark.slow
@pytest.mark.timeout(0)  # so many histories, and shrinking one, take minutes
@pytest.mark.django_db(transaction=True)
def test_every_history_is_as_the_model_says(world: World, spotify_world: SpotifyWorld) -> None:
    with ThreadPoolExecutor(1) as lane:
        run_state_machine_as_test(
            lambda: TokenMachine(  # type: ignore[arg-type]  # a factory will do
                world, lane, rotates=spotify_world.rotates
            ),
            settings=hypothesis_settings(
                max_examples=HISTORIES,
                stateful_step_count=STEPS,
                deadline=None,
                print_blob=True,
                phases=PHASES,
                suppress_health_check=list(HealthCheck),
            ),
        )
