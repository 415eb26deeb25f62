"""Each fault of the sandbox against a real worker and beat: the row, the event, the page.

All faults of single users strike at the same time, each its own victim, while others go
on being refreshed. Then the faults end, and everybody must be well again without ever
showing Spotify a token that is dead.
"""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from html import unescape

import pytest
import redis
from django.conf import settings
from django.db import connection as database
from django.db import transaction
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse
from django.utils.html import strip_tags
from pytest_django import DjangoDbBlocker

from accounts.models import User
from spotify_auth import cooldown, pace
from spotify_auth.models import Outcome, SpotifyToken, TokenEvent
from spotify_auth.sandbox.control import ACTION_NAMES
from spotify_auth.sandbox.faults import FAULTS
from tests.support.expectations import CASES, CASES_OF_ALL, Case, CaseOfAll
from tests.support.fault_stack import Stack, started_stack
from tests.support.login import log_in
from tests.support.processes import wait_for
from tests.support.tokens import account_of, connect_users, make_due, token_of

# One process of pytest-xdist has the stack that all of these tests look at.
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(360),  # the first one waits for what all faults come to
    pytest.mark.xdist_group("answers_with_workers"),
]

OTHERS = 25
PAGES_READ = 5
"""So many of the connection pages are looked at when a fault strikes everybody."""
LIFETIME = 600
LONG_LIFE = 12 * LIFETIME
"""A sixth of it passes before the confirmation of a refusal: longer than all of this takes."""
SETTINGS = {
    "ACCESS_TOKEN_LIFETIME_SECONDS": str(LIFETIME),
    "REFRESH_SWEEP_SECONDS": "0.2",
    "TOKEN_ENDPOINT_DEADLINE_SECONDS": "1",
    # The victims are refused at the same time, and must not be taken for a mass.
    "OUTAGE_GUARD_REFUSALS": "40",
}
FAILURES = (Outcome.RETRY, Outcome.ANSWER_UNKNOWN, Outcome.SUSPECTED, Outcome.RECONNECT_REQUIRED)


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """One user's row and history at one moment, and what their page says."""

    token: SpotifyToken
    events: Sequence[TokenEvent]
    """The newest first."""
    page: str
    """The status line of the connection page."""
    text: str
    """All that the page says."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Struck:
    """One victim: while the fault lasts, and after it."""

    state: State
    dashboard: str
    recovered: State
    works: bool
    """Whether Spotify takes the recovered access token, and whose it is."""
    dead_shown: int
    """Dead refresh tokens shown to Spotify after the fault had ended, or after the log-in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Paused:
    """A fault of everybody: while it lasts, and after it."""

    before: Mapping[int, SpotifyToken]
    during: Mapping[int, SpotifyToken]
    pages: Sequence[str]
    attempts: tuple[int, int]
    """Requests when the pause began, and when several sweeps had passed."""
    log: str
    after: Mapping[int, SpotifyToken]


@dataclass(frozen=True, kw_only=True, slots=True)
class Played:
    """Everything that was seen."""

    paused: Mapping[str, Paused]
    struck: Mapping[str, Struck]
    others: Sequence[State]
    dead_shown_by_others: int


def state_of(user: User) -> State:
    """Row and history from one snapshot of the database, and the page."""
    with transaction.atomic():
        with database.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        token = token_of(user)
        events = list(user.spotify_auth_events.exclude(outcome=Outcome.CONNECTED))
    html = page_of(user, "accounts:connection")
    found = re.search(r'<span id="status">(.*?)</span>\s*</p>', html, re.DOTALL)
    assert found
    return State(token=token, events=events, page=words(found[1]), text=words(html))


def page_of(user: User, name: str) -> str:
    browser = Client()
    browser.force_login(user)
    response = browser.get(reverse(name))
    assert response.status_code == 200
    return response.content.decode()


def words(html: str) -> str:
    return " ".join(unescape(strip_tags(html)).split())


def due_now(users: Sequence[User]) -> None:
    """Due, without a change to when they were refreshed last."""
    SpotifyToken.objects.filter(pk__in=[user.pk for user in users]).update(due_at=Now())


def generations(users: Sequence[User]) -> dict[int, int]:
    found = SpotifyToken.objects.filter(pk__in=[user.pk for user in users])
    return dict(found.values_list("pk", "generation"))


def refresh_once(users: Sequence[User]) -> None:
    """Let the workers refresh each of these once more."""
    before = generations(users)
    due_now(users)
    wait_for(
        lambda: all(now > before[pk] for pk, now in generations(users).items()),
        what="everybody to be refreshed",
        seconds=150,
    )


def dead_shown(stack: Stack, user: User) -> int:
    return int(stack.sandbox.stats(user.account_id)["reuses_of_dead_token"])


def strike_all(stack: Stack, case: CaseOfAll, users: Sequence[User]) -> Paused:
    log_begins = len(stack.worker.logs())
    stack.sandbox.faults(case.fault, **case.parameters)
    before = {user.pk: token_of(user) for user in users}
    due_now(users)
    wait_for(
        lambda: case.log in stack.worker.logs()[log_begins:],
        what="what the worker says",
    )
    time.sleep(0.5)  # lanes that were admitted before the pause
    wait_for(lambda: stack.sandbox.stats()["in_flight"] == 0, what="the lanes to end")
    began = stack.sandbox.stats()["totals"]["refreshes_attempted"]
    time.sleep(1)  # five sweeps, which must do nothing
    ended = stack.sandbox.stats()["totals"]["refreshes_attempted"]
    during = {user.pk: token_of(user) for user in users}
    pages = [state_of(user).page for user in users[-PAGES_READ:]]

    stack.sandbox.clear()
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete(cooldown._PAUSE)  # as if its time had passed
    pace.forget()  # a limit that a few users taught would hold up all that follows
    refresh_once(users)
    return Paused(
        before=before,
        during=during,
        pages=pages,
        attempts=(began, ended),
        log=stack.worker.logs()[log_begins:],
        after={user.pk: token_of(user) for user in users},
    )


def strike(stack: Stack, case: Case, user: User) -> None:
    """Program the faults for one user, and let the token be due."""
    row = SpotifyToken.objects.filter(pk=user.pk)
    for name, parameters in case.faults.items():
        stack.sandbox.faults(name, users=[user.account_id], **parameters)
    if "expire_refresh_token" in case.faults:
        row.update(reauthorize_by=Now() - timedelta(days=1))
    if "expire_access_tokens" in case.faults:
        # Not due: a page meets the Web API's 401.
        row.update(refreshed_at=Now() - timedelta(seconds=100))
        page_of(user, "accounts:dashboard")
    else:
        make_due(user, expired=True)
        # The confirmation of a refusal does not come while we look.
        row.update(refreshed_at=Now() - timedelta(seconds=LONG_LIFE))


class Victims:
    """All victims of the faults of single users, struck at once."""

    def __init__(self, stack: Stack, users: Mapping[str, User], others: Sequence[User]) -> None:
        self._stack = stack
        self._users = users
        self._others = others
        self._events = {name: user.spotify_auth_events.count() for name, user in users.items()}
        self.states: dict[str, State] = {}
        self.dashboards: dict[str, str] = {}

    def strike(self) -> None:
        for name, case in CASES.items():
            strike(self._stack, case, self._users[name])
        wait_for(
            self._all_have_come_to_their_end, what="what the faults come to", seconds=180, every=0.5
        )

    def _all_have_come_to_their_end(self) -> bool:
        for name, case in CASES.items():
            if name not in self.states:
                self._look(name, case, self._users[name])
        pace.forget()  # the 429s of one victim are a limit for all
        refresh_once(self._others)
        return len(self.states) == len(CASES)

    def _look(self, name: str, case: Case, user: User) -> None:
        newest = user.spotify_auth_events.first()
        if newest is None or user.spotify_auth_events.count() == self._events[name]:
            return
        if newest.outcome == Outcome.SUSPECTED != case.outcome:
            # The next refusal early, and as if the first had been long ago.
            long_ago = Now() - timedelta(seconds=LONG_LIFE)
            row = SpotifyToken.objects.filter(pk=user.pk)
            row.update(suspected_at=long_ago, due_at=Now())
            return
        state = state_of(user)
        if case.outcome is Outcome.RECONNECT_REQUIRED != state.events[0].outcome:
            return  # a step on the way there, which came while we looked
        self.states[name] = state
        self.dashboards[name] = words(page_of(user, "accounts:dashboard"))

    def recover(self) -> dict[str, Struck]:
        """End the faults; who must logs in, and the others are refreshed."""
        self._stack.sandbox.clear()
        pace.forget()
        wait_for(lambda: self._stack.sandbox.stats()["in_flight"] == 0, what="the held to end")
        alone = [user for name, user in self._users.items() if not CASES[name].by_login]
        for name, user in self._users.items():
            if CASES[name].by_login:
                browser = Client(headers={"host": "127.0.0.1:8000"})
                log_in(browser, self._stack.sandbox, user.display_name or "")
        # Until the log-in a lane may go on asking with a token that it cannot know to be dead.
        dead = {name: dead_shown(self._stack, user) for name, user in self._users.items()}
        refresh_once(alone)
        recovered = {name: state_of(user) for name, user in self._users.items()}
        refresh_once(list(self._users.values()))
        return {
            name: Struck(
                state=self.states[name],
                dashboard=self.dashboards[name],
                recovered=recovered[name],
                works=account_of(self._stack.sandbox, token_of(user).access_token)
                == user.account_id,
                dead_shown=dead_shown(self._stack, user) - dead[name],
            )
            for name, user in self._users.items()
        }


@pytest.fixture(scope="module")
def played(django_db_blocker: DjangoDbBlocker) -> Iterator[Played]:
    with django_db_blocker.unblock(), started_stack(lifetime=LIFETIME, settings=SETTINGS) as stack:
        everybody = connect_users(stack.sandbox, count=len(CASES) + OTHERS)
        paused = {name: strike_all(stack, case, everybody) for name, case in CASES_OF_ALL.items()}
        # As if the mass of refusals had been long ago: no victim is one of them.
        TokenEvent.objects.filter(outcome=Outcome.SUSPECTED).delete()
        users = dict(zip(CASES, everybody, strict=False))
        others = everybody[len(CASES) :]
        victims = Victims(stack, users, others)
        victims.strike()
        yield Played(
            paused=paused,
            struck=victims.recover(),
            others=[state_of(user) for user in others],
            dead_shown_by_others=sum(dead_shown(stack, user) for user in others),
        )


def test_every_fault_of_the_sandbox_has_an_expectation() -> None:
    expected = {name for case in CASES.values() for name in case.faults}
    expected |= {case.fault for case in CASES_OF_ALL.values()}

    # Limits strike nobody who keeps to them, and answer as `rate_limited` does.
    assert expected == {*FAULTS, *ACTION_NAMES} - {"limit", "web_api_limit"}


@pytest.mark.parametrize("name", CASES)
def test_what_a_fault_does_to_its_victim(played: Played, name: str) -> None:
    case, state = CASES[name], played.struck[name].state
    token, event = state.token, state.events[0]

    assert (event.outcome, event.error, event.cause) == (case.outcome, case.error, case.cause)
    assert event.rotated == case.rotated
    assert token.status == (
        "reconnect_required" if case.outcome is Outcome.RECONNECT_REQUIRED else "active"
    )
    # The row tells the same as the history: failures in a row, and the last of them.
    failures = next(
        (n for n, each in enumerate(state.events) if each.outcome not in FAILURES),
        len(state.events),
    )
    assert (token.failures, token.last_error) == (failures, case.error)
    assert (failures == 0) == (case.outcome is Outcome.REFRESHED)
    assert token.generation == event.generation_after
    # Six months over is believed at once: nobody was suspected before.
    assert (token.suspected_at is not None) == any(
        each.outcome == Outcome.SUSPECTED for each in state.events[:failures]
    )
    assert state.page == case.page
    assert case.words in state.text
    assert event.get_outcome_display() in state.text
    assert not case.error or f"({case.error})" in state.text


@pytest.mark.parametrize("name", CASES)
def test_the_victim_recovers_without_showing_a_dead_token(played: Played, name: str) -> None:
    struck = played.struck[name]

    assert struck.works
    assert struck.dead_shown == 0
    assert (struck.recovered.token.status, struck.recovered.token.failures) == ("active", 0)
    assert (struck.recovered.token.last_error, struck.recovered.page) == ("", "Connected")


def test_a_failing_web_api_is_said_on_the_dashboard_alone(played: Played) -> None:
    fails, slow = (played.struck[f"rotating: the Web API {how}"] for how in ("fails", "is slow"))
    assert "Spotify is not answering" in fails.dashboard
    assert "Spotify is not answering" not in slow.dashboard


def test_the_others_are_refreshed_as_if_nothing_had_happened(played: Played) -> None:
    for state in played.others:
        latest = [event.outcome for event in state.events[:3]]
        assert latest == [Outcome.REFRESHED] * 3
        assert (state.token.status, state.token.failures, state.page) == ("active", 0, "Connected")
    assert played.dead_shown_by_others == 0


@pytest.mark.parametrize("name", CASES_OF_ALL)
def test_what_strikes_everybody_condemns_nobody(played: Played, name: str) -> None:
    case, paused = CASES_OF_ALL[name], played.paused[name]

    assert paused.attempts[0] == paused.attempts[1]
    assert case.log in paused.log
    assert ("cooldown_off" in paused.log) is case.pauses
    assert paused.pages == ["Connected"] * PAGES_READ
    for pk, token in paused.during.items():
        assert token.status == "active"
        assert token.generation == paused.before[pk].generation
        assert token.failures <= 1
        assert paused.after[pk].generation > token.generation
        assert (paused.after[pk].failures, paused.after[pk].last_error) == (0, "")
