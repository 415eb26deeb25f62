"""SIGKILL of each part at each step of an exchange: what the service holds afterwards.

The expectations are the table in docs/explanation/failures.md, cell by cell. For each victim five
users stand at five steps of an exchange at the same moment; then the victim is killed,
the exchanges go on as far as they can, and the victim comes back.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import psutil
import psycopg
import pytest
import redis
from django.conf import settings
from django.db import connection as database
from django.db.models.functions import Now
from django.test import Client
from pytest_django import DjangoDbBlocker

from accounts.models import User
from dev.process import ROOT
from spotify_auth.models import Cause, Outcome, SpotifyToken
from tests.support.fault_stack import Stack, started_stack
from tests.support.login import log_in
from tests.support.processes import wait_for
from tests.support.tokens import account_of, connect_users, make_due, make_long_refused, token_of

# One process of pytest-xdist has the rounds that all of these tests look at.
pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("kill_at_each_step")]

STEPS = (
    "due, not claimed",
    "claimed, request sent",
    "rotated, answer on the wire",
    "answered, before COMMIT",
    "committed, not acknowledged",
)
VICTIMS = (
    "PostgreSQL",
    "PostgreSQL's backend",
    "Redis, comes back empty",
    "Redis, appendonly file",
    "worker",
    "worker, the refresh token stays",
    "beat",
    "PostgreSQL and Redis",
    "PostgreSQL, then Redis",
)
STAYS = {"worker, the refresh token stays"}
"""The victims whose users are in the world `spotify-2026`: elsewhere it makes no difference."""
LIFETIME = 600
SETTINGS = {
    "ACCESS_TOKEN_LIFETIME_SECONDS": str(LIFETIME),
    "REFRESH_SWEEP_SECONDS": "0.2",
    # Time enough for PostgreSQL to recover in the middle of a call.
    "TOKEN_ENDPOINT_DEADLINE_SECONDS": "10",
    # What is lost with the worker must not be taken for an outage of Spotify's.
    "OUTAGE_GUARD_REFUSALS": "1000",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Survived:
    """What is seen of one user when everything runs again."""

    generation: int
    status: str
    last_error: str
    events: Sequence[tuple[str, str]]
    """Cause and outcome of all that happened since the log-in, the oldest first."""
    spotify_generation: int
    requests: int
    log: str
    """What the worker wrote of this user in the round."""


def documented() -> dict[tuple[str, str], str]:
    """The cells of the table in docs/explanation/failures.md, by step and victim."""
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in (ROOT / "docs/explanation/failures.md").read_text().splitlines()
        if line.startswith(("| step", *(f"| {step}" for step in STEPS)))
    ]
    heading, *body = rows
    return {
        (row[0], victim): cell for row in body for victim, cell in zip(heading, row, strict=True)
    }


class Round:
    """One victim: five users at the five steps, the kill, and what came of it."""

    def __init__(self, stack: Stack, users: Sequence[User]) -> None:
        self._stack = stack
        self._users = dict(zip(STEPS, users, strict=True))
        self._log_begins = len(stack.worker.logs())

    def stand(self) -> psycopg.Connection:
        """Let each user's exchange come to its step; what holds them in the database."""
        stack, at = self._stack, self._users
        holder = psycopg.connect(stack.postgres.url("keeper"), autocommit=True)
        not_claimed, sent, rotated, answered, committed = (at[step] for step in STEPS)

        # Locked before it is due: lanes see it and pass by.
        SpotifyToken.objects.filter(pk=not_claimed.pk).update(due_at=Now() + timedelta(seconds=1))
        # The triggers of the events' table want the first lock; see `rounds` below.
        holder.execute("SELECT pg_advisory_lock(%s)", [answered.pk])
        holder.execute("BEGIN")
        holder.execute(
            "SELECT FROM spotify_auth_spotifytoken WHERE user_id = %s FOR UPDATE", [not_claimed.pk]
        )
        wait_for(lambda: is_due(not_claimed), what="a row to be due")
        stack.proxy.hold_the_commit_after(f"_store_[0-9a-f]+\\({committed.pk}, ")
        make_due(committed)
        wait_for(lambda: stack.proxy.held == 1, what="a COMMIT to stand")
        # Now quickly: a lane's statement and its calls may not last for long.
        stack.sandbox.faults("hold", users=[sent.account_id], times=1, when="before")
        stack.sandbox.faults("hold", users=[rotated.account_id], times=1, when="after")
        for user in (answered, sent, rotated):
            make_due(user)
        wait_for(lambda: stack.sandbox.stats()["held"] == 2, what="two answers to stand")
        wait_for(lambda: len(waiting_writes()) == 1, what="a write to stand")
        return holder

    def go_on(self, holder: psycopg.Connection) -> None:
        """Let go everything that was held."""
        self._stack.sandbox.release()
        self._stack.proxy.cut()
        with suppress(psycopg.OperationalError):
            holder.execute("ROLLBACK")
        holder.close()

    def generations(self, *steps: str) -> set[int]:
        return {token_of(self._users[step]).generation for step in steps}

    def log_says(self, word: str) -> set[str]:
        """At which steps the worker has written this word of the user."""
        return {step for step, user in self._users.items() if word in self._log_of(user)}

    def are_due(self, *steps: str) -> bool:
        return all(is_due(self._users[step]) for step in steps)

    def wait_until_settled(self) -> None:
        """Until nobody is left in the middle: refreshed, or told to reconnect."""
        wait_for(self._is_settled, what="the round to settle", seconds=60)

    def _is_settled(self) -> bool:
        settled = True
        for user in self._users.values():
            token = token_of(user)
            if token.status == "active" and token.generation == 1:
                settled = False
                if token.suspected_at:
                    make_long_refused(user)
        return settled

    def seen(self) -> dict[str, Survived]:
        return {step: self._seen(user) for step, user in self._users.items()}

    def _seen(self, user: User) -> Survived:
        token = token_of(user)
        events = user.spotify_auth_events.exclude(outcome=Outcome.CONNECTED).order_by("id")
        stats = self._stack.sandbox.stats(user.account_id)
        return Survived(
            generation=token.generation,
            status=token.status,
            last_error=token.last_error,
            events=list(events.values_list("cause", "outcome")),
            spotify_generation=stats["generation"],
            requests=stats["refreshes_attempted"],
            log=self._log_of(user),
        )

    def _log_of(self, user: User) -> str:
        lines = self._stack.worker.logs()[self._log_begins :].splitlines()
        return "\n".join(line for line in lines if re.search(rf"user_id={user.pk}\b", line))

    def assert_connected(self, step: str) -> None:
        """The stored pair is Spotify's newest, and the next refresh proves both halves."""
        user, sandbox = self._users[step], self._stack.sandbox
        before, dead = token_of(user), sandbox.stats(user.account_id)["reuses_of_dead_token"]
        assert account_of(sandbox, before.access_token) == user.account_id
        make_due(user)
        wait_for(
            lambda: token_of(user).generation == before.generation + 1,
            what="the next refresh",
            seconds=60,
        )
        assert account_of(sandbox, token_of(user).access_token) == user.account_id
        assert sandbox.stats(user.account_id)["reuses_of_dead_token"] == dead

    def log_in_again(self, step: str) -> None:
        user = self._users[step]
        log_in(
            Client(headers={"host": "127.0.0.1:8000"}), self._stack.sandbox, user.display_name or ""
        )


def is_due(user: User) -> bool:
    return SpotifyToken.objects.filter(pk=user.pk, due_at__lte=Now()).exists()


def waiting_writes() -> list[int]:
    """The backends that wait for an advisory lock."""
    with database.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        return [pid for (pid,) in cursor.fetchall()]


def kill_postgresql(stack: Stack, round_: Round, holder: psycopg.Connection) -> None:
    stack.kill_postgres()
    round_.go_on(holder)
    answered = set(STEPS[1:])
    wait_for(lambda: round_.log_says("rescue_stored") == answered, what="the rescues")
    stack.postgres.start()


def kill_a_backend(stack: Stack, round_: Round, holder: psycopg.Connection) -> None:
    (pid,) = waiting_writes()
    # PostgreSQL then ends all its sessions and recovers by itself, within the deadline.
    psutil.Process(pid).kill()
    wait_for(lambda: has_ended(holder), what="PostgreSQL to end its sessions")
    database.close()
    wait_for(stack.postgres_answers, what="PostgreSQL to recover")
    # Other lanes have met the two rows whose answers are still on the wire.
    on_the_wire = STEPS[1:3]
    wait_for(lambda: not round_.are_due(*on_the_wire), what="the rows in doubt to be put off")
    round_.go_on(holder)


def has_ended(session: psycopg.Connection) -> bool:
    """Whether the server has ended this session."""
    try:
        session.execute("SELECT")
    except psycopg.OperationalError:
        return True
    return False


def kill_one_after_the_other(stack: Stack, round_: Round, holder: psycopg.Connection) -> None:
    stack.kill_postgres()
    round_.go_on(holder)
    answered = set(STEPS[1:])
    wait_for(lambda: round_.log_says("rescue_stored") == answered, what="the rescues")
    stack.redis.kill()
    stack.redis.start()
    stack.redis.ready()
    stack.postgres.start()


def kill_redis(
    stack: Stack, round_: Round, holder: psycopg.Connection, *, comes_back_empty: bool
) -> None:
    stack.redis.kill()
    round_.go_on(holder)
    wait_for(lambda: round_.generations(*STEPS[1:]) == {2}, what="the writes without Redis")
    if comes_back_empty:
        stack.forget_redis()
    stack.redis.start()


def kill_worker(stack: Stack, round_: Round, holder: psycopg.Connection) -> None:
    stack.worker.kill()
    round_.go_on(holder)
    let_the_marks_age()
    stack.worker.start()


def let_the_marks_age() -> None:
    """As if the time had passed in which an attempt may still come back."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        for mark in client.scan_iter("spotify_auth:attempt:*"):
            client.pexpire(mark, client.pttl(mark) - 60_000)


def kill_beat(stack: Stack, round_: Round, holder: psycopg.Connection) -> None:
    stack.beat.kill()
    round_.go_on(holder)
    wait_for(lambda: round_.generations(*STEPS[1:]) == {2}, what="the writes without beat")
    stack.beat.start()


def kill_both(stack: Stack, round_: Round, holder: psycopg.Connection) -> None:
    # Redis first: a lane that PostgreSQL leaves would put its grant there at once.
    stack.redis.kill()
    stack.kill_postgres()
    round_.go_on(holder)
    answered = set(STEPS[1:])
    wait_for(lambda: round_.log_says("rescue_waits") == answered, what="the lanes to hold")
    stack.postgres.start()
    wait_for(lambda: round_.generations(*STEPS[1:]) == {2}, what="the lanes to write")
    stack.forget_redis()
    stack.redis.start()


KILL: dict[str, Callable[[Stack, Round, psycopg.Connection], None]] = {
    "PostgreSQL": kill_postgresql,
    "PostgreSQL's backend": kill_a_backend,
    "Redis, comes back empty": partial(kill_redis, comes_back_empty=True),
    "Redis, appendonly file": partial(kill_redis, comes_back_empty=False),
    "worker": kill_worker,
    "worker, the refresh token stays": kill_worker,
    "beat": kill_beat,
    "PostgreSQL and Redis": kill_both,
    "PostgreSQL, then Redis": kill_one_after_the_other,
}


class Rounds:
    """The rounds on one stack; each is played when its first case asks for it."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._users = connect_users(stack.sandbox, count=1 + len(VICTIMS) * len(STEPS))
        self._begun: set[str] = set()
        self._played: dict[str, tuple[Round, dict[str, Survived]]] = {}

    def after(self, victim: str) -> tuple[Round, dict[str, Survived]]:
        if victim not in self._begun:
            self._begun.add(victim)
            first = 1 + VICTIMS.index(victim) * len(STEPS)
            users = self._users[first : first + len(STEPS)]
            if victim in STAYS:
                accounts = [user.account_id for user in users]
                self._stack.sandbox.faults("no_rotation", users=accounts)
            round_ = Round(self._stack, users)
            KILL[victim](self._stack, round_, round_.stand())
            round_.wait_until_settled()
            self._played[victim] = round_, round_.seen()
        if victim not in self._played:
            pytest.fail("another case of this round has met its failure")
        return self._played[victim]


@pytest.fixture(scope="module")
def rounds(django_db_blocker: DjangoDbBlocker) -> Iterator[Rounds]:
    """A stack whose events can be made to wait: an INSERT asks for its user's lock."""
    with django_db_blocker.unblock(), started_stack(lifetime=LIFETIME, settings=SETTINGS) as stack:
        with database.cursor() as cursor:
            cursor.execute(
                """
                CREATE FUNCTION stand() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN PERFORM pg_advisory_xact_lock_shared(NEW.user_id); RETURN NEW; END $$;
                CREATE TRIGGER stand BEFORE INSERT ON spotify_auth_tokenevent
                FOR EACH ROW EXECUTE FUNCTION stand();
                CREATE TRIGGER stand BEFORE INSERT ON spotify_auth_routineevent
                FOR EACH ROW EXECUTE FUNCTION stand();
                """
            )
        yield Rounds(stack)


SCHEDULE, RESCUE = Cause.SCHEDULE.value, Cause.RESCUE.value
REFRESHED = Outcome.REFRESHED.value


def assert_refreshed_later(seen: Survived) -> None:
    assert seen.events == [(SCHEDULE, REFRESHED)]
    assert (seen.requests, seen.spotify_generation) == (1, 2)


def assert_stored(seen: Survived) -> None:
    assert seen.events == [(SCHEDULE, REFRESHED)]
    assert (seen.requests, seen.spotify_generation) == (1, 2)
    assert "rescue" not in seen.log


def assert_through_redis(seen: Survived) -> None:
    assert seen.events == [(RESCUE, REFRESHED)]
    assert (seen.requests, seen.spotify_generation) == (1, 2)
    assert "rescue_replayed" in seen.log


def assert_from_the_lane(seen: Survived) -> None:
    assert seen.events == [(RESCUE, REFRESHED)]
    assert (seen.requests, seen.spotify_generation) == (1, 2)
    assert "rescue_stored" not in seen.log
    assert "rescue_waits" in seen.log


def assert_committed(seen: Survived) -> None:
    assert seen.events == [(SCHEDULE, REFRESHED)]
    assert (seen.requests, seen.spotify_generation) == (1, 2)


def assert_asked_again(seen: Survived) -> None:
    """One pair was lost with the worker, and the refresh token still gave another."""
    assert seen.events == [(SCHEDULE, REFRESHED)]
    assert (seen.requests, seen.spotify_generation) == (2, 3)


SURVIVED: dict[str, Callable[[Survived], None]] = {
    "refreshed later": assert_refreshed_later,
    "stored": assert_stored,
    "through Redis": assert_through_redis,
    "from the lane": assert_from_the_lane,
    "committed": assert_committed,
    "asked again": assert_asked_again,
}


@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("step", STEPS)
def test_what_survives_a_kill(rounds: Rounds, step: str, victim: str) -> None:
    expected = documented()[step, victim]

    round_, seen = rounds.after(victim)

    after = seen[step]
    if expected == "**lost**":
        # Recognised as what it is, and mended by one log-in.
        assert (after.status, after.last_error) == ("reconnect_required", "answer_lost")
        assert [outcome for _, outcome in after.events] == [
            Outcome.SUSPECTED,
            Outcome.SUSPECTED,
            Outcome.RECONNECT_REQUIRED,
        ]
        round_.log_in_again(step)
    else:
        # One pair more, and it is Spotify's newest.
        assert (after.status, after.last_error, after.generation) == ("active", "", 2)
        SURVIVED[expected](after)
    round_.assert_connected(step)


def test_the_documentation_holds_a_cell_for_each_case() -> None:
    cells = documented()

    assert {step for step, _ in cells} == set(STEPS)
    assert {victim for _, victim in cells} == {"step", *VICTIMS}
