"""Many users with 8 tabs each request their dashboards when their tokens expire.

A real gunicorn, worker and beat; the token endpoint takes 200 ms. First the users arrive one
after the other, which the machine keeps up with: turns in which no token is due alternate
with turns in which each token falls due as its user arrives. Then all users arrive at the
same time, and a request's duration is time in a queue: once with no token due, once with
all of them due, so that refreshes and requests share the machine, and once with tokens that
have expired, as after the absence of all workers: pages say so and nudge, and no user is
sent to log in.
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
from benchmarks.bulk_users import connect_people, make_all_due, make_none_due
from benchmarks.measurement import Row, milli
from benchmarks.service import environment, let_spotify_take_its_time, refreshes, wait_until_idle
from dev.process import free_port
from spotify_auth.models import Outcome, SpotifyToken, TokenEvent
from tests.support.processes import (
    LocalProcess,
    beat_process,
    teardown_together,
    wait_for,
    web_process,
    worker_process,
)
from tests.support.sandbox_client import Sandbox

TITLE = "Expiry burst"
PEOPLE, TABS = 72, 8
LANES = 64
TURNS = 2
SPAN_SECONDS = 9
"""In this time the users arrive one after the other: two thirds of the machine's capacity."""
MOST = 1.1
LOG_IN, WAIT, MUSIC = "sent to log in", "reconnecting", "the dashboard"
"""What a page may show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Visits:
    """The results of the requests of one turn."""

    seconds: Sequence[float]
    shown: Counter[str]

    @property
    def p99(self) -> float:
        """Seconds within which 99 of 100 requests were answered."""
        return statistics.quantiles(self.seconds, n=100)[98]


@dataclass(frozen=True, kw_only=True, slots=True)
class Turns:
    """All turns: with nothing due, with all tokens due, with all of them expired."""

    steady: Sequence[Visits]
    due: Sequence[Visits]
    stampede: Visits
    stampede_due: Visits
    stampede_expired: Visits
    late: float
    """Seconds from the last answer about expired tokens until all were fresh."""
    afterwards: Visits
    refreshed: Sequence[int]
    """Refreshes in each turn that had any."""


def run(*, long: bool) -> list[Row]:
    """Users who arrive one by one, and the same users at the same time."""
    with Sandbox(access_token_lifetime=3600) as sandbox:
        people = connect_people(sandbox, PEOPLE)
        let_spotify_take_its_time(sandbox)
        with _service(sandbox) as address:
            turns = _turns(sandbox, people, address)
    rows = _rows(turns)
    SpotifyToken.objects.all().delete()
    return rows


def _turns(sandbox: Sandbox, people: Sequence[User], address: str) -> Turns:
    cookies = [_session_of(person) for person in people]
    _visit(address, cookies[:20])  # warms the processes up
    steady, due = [], []
    refreshed: list[int] = []

    def until_fresh(visits: Visits) -> Visits:
        _wait_until_fresh(sandbox)
        refreshed.append(refreshes(sandbox) - sum(refreshed))
        return visits

    for _ in range(TURNS):
        steady.append(_visit(address, cookies, span=SPAN_SECONDS))
        _make_due_one_by_one(people, span=SPAN_SECONDS)
        due.append(until_fresh(_visit(address, cookies, span=SPAN_SECONDS)))
    stampede = _visit(address, cookies)
    make_all_due()
    stampede_due = until_fresh(_visit(address, cookies))
    _expire_all()
    stampede_expired = _visit(address, cookies)
    started = time.perf_counter()
    until_fresh(stampede_expired)
    return Turns(
        steady=steady,
        due=due,
        stampede=stampede,
        stampede_due=stampede_due,
        stampede_expired=stampede_expired,
        late=time.perf_counter() - started,
        afterwards=_visit(address, cookies[:20]),
        refreshed=refreshed,
    )


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


def _visit(address: str, cookies: Sequence[str], *, span: float = 0) -> Visits:
    """Everybody opens all tabs at once, the one after the other evenly over the span."""
    answers = asyncio.run(_ask(address, cookies, span=span))
    return Visits(
        seconds=[seconds for seconds, _ in answers], shown=Counter(shown for _, shown in answers)
    )


async def _ask(address: str, cookies: Sequence[str], *, span: float) -> list[tuple[float, str]]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        return await asyncio.gather(
            *(
                _one(session, address, cookie, after=span * place / len(cookies))
                for place, cookie in enumerate(cookies)
                for _ in range(TABS)
            )
        )


async def _one(
    session: aiohttp.ClientSession, address: str, cookie: str, *, after: float
) -> tuple[float, str]:
    await asyncio.sleep(after)
    started = time.perf_counter()
    headers = {"Cookie": f"sessionid={cookie}"}
    async with session.get(address, headers=headers, allow_redirects=False) as response:
        page = await response.text()
    return time.perf_counter() - started, _what_it_shows(response.status, page)


def _what_it_shows(status: int, page: str) -> str:
    if status == 302 or "Please reconnect Spotify" in page:  # it redirects nowhere else
        return LOG_IN
    if status != 200:
        return f"status {status}"
    return WAIT if "Reconnecting to Spotify" in page else MUSIC


def _make_due_one_by_one(people: Sequence[User], *, span: float) -> None:
    """Let each token fall due in the moment in which `_visit` lets its owner arrive."""
    with database.cursor() as cursor:
        cursor.execute(
            """
            UPDATE spotify_auth_spotifytoken
            SET due_at = now() + make_interval(secs => (place - 1) * %s)
            FROM unnest(%s::bigint[]) WITH ORDINALITY AS arrivals (person, place)
            WHERE user_id = person
            """,
            [span / len(people), [person.pk for person in people]],
        )


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

    wait_for(nothing_is_due, what="all tokens to be fresh")
    make_none_due()
    wait_until_idle(sandbox)


def _rows(turns: Turns) -> list[Row]:
    floor, ours = (
        statistics.median(each.p99 for each in visits) for visits in (turns.steady, turns.due)
    )
    queue, among, expired = turns.stampede.p99, turns.stampede_due.p99, turns.stampede_expired.p99
    waiting = turns.stampede_expired.shown[WAIT]
    all_visits = (
        *(*turns.steady, *turns.due, turns.stampede, turns.stampede_due),
        *(turns.stampede_expired, turns.afterwards),
    )
    shown = sum((visits.shown for visits in all_visits), Counter[str]())
    sent_away = shown[LOG_IN]
    odd = shown.total() - sent_away - shown[WAIT] - shown[MUSIC]
    failed = TokenEvent.objects.exclude(outcome__in=[Outcome.CONNECTED, Outcome.REFRESHED]).count()
    return [
        Row(
            what=f"{PEOPLE} users x {TABS} tabs over {SPAN_SECONDS} s, each token due as its "
            "user arrives: request p99",
            target=f"at most {MOST} x steady",
            figure=f"{milli(ours)}: {ours / floor:.2f} x",
            floor=f"{milli(floor)} with none due",
            met=ours / floor <= MOST,
        ),
        Row(
            what=f"stampede, {PEOPLE} users x {TABS} tabs at the same time, all tokens due: "
            "request p99",
            target=f"at most {MOST} x the same stampede with none due",
            figure=f"{milli(among)}: {among / queue:.2f} x",
            floor=f"{milli(queue)}, the same stampede with none due",
            met=among / queue <= MOST,
        ),
        Row(
            what="the same stampede with all tokens expired: request p99",
            target=f"at most {MOST} x the same stampede with none due",
            figure=f"{milli(expired)}: {expired / queue:.2f} x; {waiting:,} of "
            f"{turns.stampede_expired.shown.total():,} pages said “{WAIT}”, without any call of "
            f"the Web API; all fresh {turns.late:.1f} s after the last answer",
            floor=f"{milli(queue)}, the same stampede with none due",
            met=expired / queue <= MOST,
        ),
        Row(
            what="refreshes per user, in each turn with due or expired tokens",
            target="1",
            figure=", ".join(f"{n / PEOPLE:.2f}" for n in turns.refreshed),
            met=set(turns.refreshed) == {PEOPLE},
        ),
        Row(
            what="pages that ask to log in again, other answers than a page, failed refreshes",
            target="0",
            figure=f"{sent_away}, {odd} and {failed}",
            floor=", ".join(f"{n:,} x {what}" for what, n in shown.most_common()),
            met=not sent_away and not odd and not failed,
        ),
    ]
