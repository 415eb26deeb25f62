"""Workers were away for two lifetimes, and the token endpoint has a limit that nobody knows.

Tokens live two minutes. The limit is a number of exchanges in any 30 s, with an honest
Retry-After, as Spotify describes its own. The lanes could make
twice as many exchanges as the tokens need. Measured is how long any user is stale, from the
first exchange on. The floor is what an oracle needs that knows the limit: every token has
expired, and so each is exchanged once, at the limit.
"""

import time
from dataclasses import dataclass

from django.db import connection as database

from benchmarks.bulk_users import connect_people
from benchmarks.measurement import Row
from benchmarks.service import (
    LATENCY_SECONDS,
    environment,
    let_spotify_take_its_time,
    refreshes,
)
from spotify_auth.models import SpotifyToken
from spotify_auth.redis_client import client
from tests.support.paces import count_for_long
from tests.support.processes import beat_process, teardown_together, wait_for, worker_process
from tests.support.sandbox_client import Sandbox

TITLE = "A limit is found and kept"
LIFETIME = 120
PEOPLE = 2000
NEED = PEOPLE / (0.75 * LIFETIME)
"""Exchanges a second."""
LANES = round(2 * NEED * LATENCY_SECONDS) + 1
PROCESSES = 2
CAPS, LONG_CAPS = (1.5,), (1.05, 1.2, 1.5)
WINDOW_SECONDS = 30
CALM_SECONDS = 3.0
"""Nobody is stale any more when nobody has been for so long."""
LONGEST_SECONDS = 150.0
MOST_TIMES_FLOOR = 1.1
LEAST_USED = 0.95
MOST_REFUSED = 0.01
POLL_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class Recovery:
    """One run under a limit of `cap` times the need."""

    cap: float
    seconds: float
    """From the first exchange until nobody was stale; LONGEST_SECONDS if somebody always was."""
    stale: int
    """Users, at the end."""
    granted: int
    """Until then."""
    refused: int

    @property
    def oracle_seconds(self) -> float:
        """Each token once, at the limit."""
        return PEOPLE / (self.cap * NEED)

    @property
    def used(self) -> float:
        """Of the limit, until nobody was stale."""
        return self.granted / (self.cap * NEED * self.seconds)


def run(*, long: bool) -> list[Row]:
    """One limit, or three."""
    return [row for cap in (LONG_CAPS if long else CAPS) for row in _rows(_recover(cap))]


def _recover(cap: float) -> Recovery:
    _forget()
    with Sandbox(access_token_lifetime=LIFETIME) as sandbox:
        connect_people(sandbox, PEOPLE)
        _age()
        let_spotify_take_its_time(sandbox)
        sandbox.faults("limit", calls=round(cap * NEED * WINDOW_SECONDS), seconds=WINDOW_SECONDS)
        env = environment(
            sandbox,
            lanes=LANES,
            LOG_LEVEL="ERROR",
            ACCESS_TOKEN_LIFETIME_SECONDS=str(LIFETIME),
            REFRESH_SWEEP_SECONDS="2",
            TOKEN_ENDPOINT_DEADLINE_SECONDS="8",
        )
        processes = [
            worker_process(
                f"worker{n}", env=env, concurrency=LANES // PROCESSES + 1, ready_when="[queues]"
            )
            for n in range(PROCESSES)
        ]
        try:
            processes.append(beat_process("beat", env=env))
            wait_for(lambda: refreshes(sandbox) > 0, what="the first exchange")
            recovery = _watch(sandbox, cap)
        finally:
            teardown_together(processes)
    SpotifyToken.objects.all().delete()
    return recovery


def _watch(sandbox: Sandbox, cap: float) -> Recovery:
    started = last_stale = time.monotonic()
    stale = granted = refused = 0
    while (now := time.monotonic()) < min(last_stale + CALM_SECONDS, started + LONGEST_SECONDS):
        if stale := _stale():
            totals = sandbox.summary()["totals"]
            granted, refused = int(totals["refreshes"]), int(totals["rate_limited"])
            last_stale = now
        time.sleep(POLL_SECONDS)
    return Recovery(
        cap=cap, seconds=last_stale - started, stale=stale, granted=granted, refused=refused
    )


def _rows(recovery: Recovery) -> list[Row]:
    floor = recovery.oracle_seconds
    calls = recovery.granted + recovery.refused
    what = f"{PEOPLE:,} expired tokens, a limit of {recovery.cap:g} x the need"
    return [
        Row(
            what=f"{what}: until nobody is stale",
            target=f"at most {MOST_TIMES_FLOOR:g} x the floor",
            figure=f"never, {recovery.stale:,} stale after {LONGEST_SECONDS:.0f} s"
            if recovery.stale
            else f"{recovery.seconds:.0f} s: {recovery.seconds / floor:.2f} x",
            floor=f"{floor:.0f} s: each token once, at the limit",
            met=not recovery.stale and recovery.seconds <= MOST_TIMES_FLOOR * floor,
        ),
        Row(
            what="the same: how much of the limit was used meanwhile",
            target=f"at least {LEAST_USED:.0%}",
            figure=f"{recovery.used:.0%}",
            floor=f"{recovery.cap * NEED:.1f}/s",
            met=recovery.used >= LEAST_USED,
        ),
        Row(
            what="the same: answers of 429",
            target=f"at most {MOST_REFUSED:.0%} of the calls",
            figure=f"{recovery.refused} of {calls:,}: {recovery.refused / calls:.1%}",
            met=recovery.refused <= MOST_REFUSED * calls,
        ),
    ]


def _age() -> None:
    """Let two lifetimes pass for all tokens."""
    with database.cursor() as cursor:
        cursor.execute(
            """
            UPDATE spotify_auth_spotifytoken
            SET generation = 1, (refreshed_at, expires_at, due_at) = (
                SELECT issued, issued + %(lifetime)s, issued + 0.75 * %(lifetime)s
                FROM (SELECT now() - 2 * %(lifetime)s - random() * 0.75 * %(lifetime)s
                             + 0 * length(scope) * interval '1 s' AS issued) AS moments)
            """.replace("%(lifetime)s", f"interval '{LIFETIME} s'")
        )
        cursor.execute("VACUUM ANALYZE spotify_auth_spotifytoken")


def _stale() -> int:
    with database.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM spotify_auth_spotifytoken WHERE expires_at <= now()")
        return int(cursor.fetchone()[0])


def _forget() -> None:
    """The pace of the run before, and the grants that it has just stored: its users had the
    numbers and generations of these. Redis itself was not away."""
    client().flushdb()
    count_for_long()
