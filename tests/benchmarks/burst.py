"""200 people with 8 tabs each ask for their dashboards at one moment: the moment of expiry.

A real gunicorn, worker and beat; the token endpoint takes 200 ms. Steady turns, in which
no token is due, alternate with turns in which all 200 fall due as the requests arrive, so
that refreshes and requests share the machine. In the last turn the tokens have expired
outright, as after a worker's absence: pages say so, nudge, and nobody is sent to log in.
"""

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import aiohttp
from django.core.management import call_command
from django.db import connection as database
from django.test import Client

from accounts.models import User
from local.process import free_port
from spotify_auth.models import Outcome, SpotifyToken, TokenEvent
from tests.benchmarks.people import connect_people, make_all_due, make_none_due
from tests.benchmarks.rows import Row, milli
from tests.benchmarks.service import environment, refreshes, wait_until_idle
from tests.processes import (
    LocalProcess,
    beat_process,
    teardown_together,
    wait_for,
    web_process,
    worker_process,
)
from tests.sandbox_client import Sandbox

TITLE = "Expiry burst"
PEOPLE, TABS = 200, 8
LANES = 64
LATENCY_SECONDS = 0.2
TURNS = 2
MOST = 1.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Burst:
    """What became of one burst of requests."""

    seconds: Sequence[float]
    shown: Counter[str]

    @property
    def p99(self) -> float:
        """Seconds that 99 of 100 requests took at the most."""
        return statistics.quantiles(self.seconds, n=100)[98]


def run(*, long: bool) -> list[Row]:
    """Steady bursts, bursts among refreshes, and one with expired tokens."""
    with Sandbox(access_token_lifetime=3600) as sandbox:
        people = connect_people(sandbox, PEOPLE)
        sandbox.faults("latency", seconds=LATENCY_SECONDS)
        cookies = [_session_of(person) for person in people]
        with _service(sandbox) as address:
            _burst(address, cookies[:20])  # warms the processes up
            steady, due, refreshed = [], [], []
            for _ in range(TURNS * (3 if long else 1)):
                steady.append(_burst(address, cookies))
                before = refreshes(sandbox)
                make_all_due()
                due.append(_burst(address, cookies))
                _wait_until_fresh(sandbox)
                refreshed.append(refreshes(sandbox) - before)
            before = refreshes(sandbox)
            _expire_all()
            expired = _burst(address, cookies)
            started = time.perf_counter()
            _wait_until_fresh(sandbox)
            late = time.perf_counter() - started
            refreshed.append(refreshes(sandbox) - before)
            again = _burst(address, cookies[:20])
    rows = _rows(steady, due, expired, again, refreshed=refreshed, late=late)
    SpotifyToken.objects.all().delete()
    return rows


@contextmanager
def _service(sandbox: Sandbox) -> Iterator[str]:
    call_command("collectstatic", interactive=False, verbosity=0)
    port = free_port()
    env = environment(
        sandbox, lanes=LANES, REFRESH_SWEEP_SECONDS="1", HOST="127.0.0.1", PORT=str(port)
    )
    running: list[LocalProcess] = []
    try:
        running.append(web_process("web", env=env))
        running.append(worker_process("worker", env=env, concurrency=LANES))
        running.append(beat_process("beat", env=env))
        for process in running:
            process.ready()
        yield f"http://127.0.0.1:{port}/dashboard/"
    finally:
        teardown_together(running)


def _session_of(person: User) -> str:
    browser = Client()
    browser.force_login(person)
    return browser.cookies["sessionid"].value


def _burst(address: str, cookies: Sequence[str]) -> Burst:
    """All tabs of all people ask at once."""
    answers = asyncio.run(_ask([cookie for cookie in cookies for _ in range(TABS)], address))
    return Burst(
        seconds=[seconds for seconds, _ in answers], shown=Counter(shown for _, shown in answers)
    )


async def _ask(cookies: Sequence[str], address: str) -> list[tuple[float, str]]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        return await asyncio.gather(*(_one(session, address, cookie) for cookie in cookies))


async def _one(session: aiohttp.ClientSession, address: str, cookie: str) -> tuple[float, str]:
    started = time.perf_counter()
    headers = {"Cookie": f"sessionid={cookie}"}
    async with session.get(address, headers=headers, allow_redirects=False) as response:
        page = await response.text()
    return time.perf_counter() - started, _what_it_shows(response.status, page)


def _what_it_shows(status: int, page: str) -> str:
    if status != 200:
        return f"status {status}"
    if "Please reconnect Spotify" in page:
        return "log in again"
    return "reconnecting" if "Reconnecting to Spotify" in page else "the dashboard"


def _expire_all() -> None:
    with database.cursor() as cursor:
        cursor.execute(
            "UPDATE spotify_auth_spotifytoken SET expires_at = now(), due_at = now(), "
            "refreshed_at = now() - interval '1 hour'"
        )


def _wait_until_fresh(sandbox: Sandbox) -> None:
    def nothing_is_due() -> bool:
        with database.cursor() as cursor:
            cursor.execute(
                "SELECT NOT EXISTS (SELECT FROM spotify_auth_spotifytoken WHERE due_at <= now())"
            )
            return bool(cursor.fetchone()[0])

    wait_for(nothing_is_due, what="everybody to be fresh")
    make_none_due()
    wait_until_idle(sandbox)


def _rows(
    steady: Sequence[Burst],
    due: Sequence[Burst],
    expired: Burst,
    again: Burst,
    *,
    refreshed: Sequence[int],
    late: float,
) -> list[Row]:
    floor, ours = (statistics.median(each.p99 for each in bursts) for bursts in (steady, due))
    shown = sum((each.shown for each in (*steady, *due, expired, again)), Counter[str]())
    lost = TokenEvent.objects.exclude(outcome__in=[Outcome.CONNECTED, Outcome.REFRESHED]).count()
    bad = sum(n for what, n in shown.items() if what not in {"the dashboard", "reconnecting"})
    return [
        Row(
            what=f"{PEOPLE} people x {TABS} tabs, all tokens due: request p99",
            target=f"at most {MOST} x steady",
            figure=f"{milli(ours)}: {ours / floor:.2f} x",
            floor=f"{milli(floor)} with none due",
            met=ours / floor <= MOST,
        ),
        Row(
            what="the same with all tokens expired: request p99",
            target=f"at most {MOST} x steady",
            figure=f"{milli(expired.p99)}: {expired.p99 / floor:.2f} x",
            floor=f"all fresh {late:.1f} s after the last answer",
            met=expired.p99 / floor <= MOST,
        ),
        Row(
            what="refreshes a person, in each of these bursts",
            target="1",
            figure=", ".join(f"{n / PEOPLE:.2f}" for n in refreshed),
            met=set(refreshed) == {PEOPLE},
        ),
        Row(
            what="people sent to log in, and failed refreshes",
            target="0",
            figure=f"{bad} and {lost}",
            floor=", ".join(f"{n} x {what}" for what, n in shown.most_common()),
            met=not bad and not lost,
        ),
    ]
