"""The scenario: users come back with several tabs at the time of expiry, twice."""

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers import environment
from benchmarks.peers.contestants import CONTESTANTS, Contestant
from benchmarks.peers.load import Load, Visit, percentile
from benchmarks.peers.site import Site
from tests.support.sandbox_client import Sandbox

USERS, TABS, EXPIRIES = 15, 8, 2
NAMES = [f"user-{n}" for n in range(1, USERS + 1)]
AT_ONCE = 3
"""So many contestants are measured side by side."""
LATENCY_SECONDS = 0.2

KEPT = "no rotation"
DEAD = "the old token is dead"
REVOKED = "reuse revokes the grant"
POLICIES = (KEPT, DEAD, REVOKED)
"""How the sandbox treats a refresh token at its use, and at the next one. A third of the
users each."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Of all pages and of the slowest hundredth, in seconds."""

    p50: float
    p99: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What one contestant's users met under one policy.

    users                  how many they were
    saw_error              of them, who met a page that was not there, even once
    lost                   of them, whose stored refresh token the sandbox refuses afterwards
    exchanges_per_expiry   calls of the token endpoint, for each user and expiry
    at_expiry              pages opened at the time of expiry, whatever their answer
    otherwise              single pages between the expiries
    read                   one read of a fresh token in process, from the database: median seconds
    """

    contestant: Contestant
    versions: dict[str, str]
    policy: str
    users: int
    saw_error: int
    lost: int
    exchanges_per_expiry: float
    at_expiry: Latency
    otherwise: Latency
    read: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Prepared:
    """A contestant with its users, before they come."""

    contestant: Contestant
    sandbox: Sandbox
    site: Site
    answer: dict[str, Any]


def measure(contestants: Sequence[Contestant] = CONTESTANTS) -> Iterator[Row]:
    """Three rows for each contestant, in their order.

    Reads are timed one contestant after the other. Then users come to several side by side: most
    of the time they wait. Needs the settings of `python -m dev.bench` in the environment.
    """
    python = environment.install()
    with ExitStack() as stack:
        prepared = [_prepare(contestant, python, stack) for contestant in contestants]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            # What takes longest begins first.
            in_order = sorted(prepared, key=lambda each: -each.contestant.period)
            rows = {each.contestant: pool.submit(_measure, each, python) for each in in_order}
            for contestant in contestants:
                yield from rows[contestant].result()


def _prepare(contestant: Contestant, python: Path, stack: ExitStack) -> _Prepared:
    sandbox = stack.enter_context(Sandbox(access_token_lifetime=contestant.lifetime))
    site = Site(contestant, python=python, sandbox=sandbox)
    answer = site.people("prepare", NAMES)
    return _Prepared(contestant=contestant, sandbox=sandbox, site=site, answer=answer)


def _measure(prepared: _Prepared, python: Path) -> list[Row]:
    contestant, sandbox, site = prepared.contestant, prepared.sandbox, prepared.site
    policy_of = {name: POLICIES[n % 3] for n, name in enumerate(NAMES)}
    sessions: dict[str, str] = prepared.answer["sessions"]
    sandbox.faults("latency", seconds=LATENCY_SECONDS)
    for policy, fault in ((KEPT, "no_rotation"), (REVOKED, "reuse_revokes_grant")):
        sandbox.faults(fault, users=[name for name in NAMES if policy_of[name] == policy])
    with site.running():
        site.people("log-in", sessions)
        logged_in = time.monotonic()
        load = Load(site.url, sessions, tabs=TABS)
        asyncio.run(load.warm_up())
        time.sleep(max(0.0, logged_in + contestant.period - 1 - time.monotonic()))
        before = _exchanges(sandbox)
        started = time.monotonic()
        asyncio.run(load.run(waves=EXPIRIES, period=contestant.period))
        time.sleep(max(0.0, started + EXPIRIES * contestant.period - time.monotonic()))
        after = _exchanges(sandbox)
    sandbox.clear()
    dead = {
        name
        for name, token in site.people("stored", sessions).items()
        if sandbox.refresh(token).status_code == 400
    }
    used = sys.executable if contestant.in_background else str(python)
    versions = environment.versions(used, contestant.packages)
    rows = []
    for policy in POLICIES:
        users = {name for name in NAMES if policy_of[name] == policy}
        visits = [visit for visit in load.visits if visit.name in users]
        rows.append(
            Row(
                contestant=contestant,
                versions=versions,
                policy=policy,
                users=len(users),
                lost=len(dead & users),
                exchanges_per_expiry=sum(after[n] - before[n] for n in users)
                / len(users)
                / EXPIRIES,
                read=prepared.answer["read_seconds"],
                saw_error=len({visit.name for visit in visits if visit.status != 200}),
                at_expiry=_latency([visit for visit in visits if visit.at_expiry]),
                otherwise=_latency([visit for visit in visits if not visit.at_expiry]),
            )
        )
    return rows


def _latency(visits: Sequence[Visit]) -> Latency:
    times = [visit.seconds for visit in visits]
    return Latency(p50=percentile(times, 0.50), p99=percentile(times, 0.99))


def _exchanges(sandbox: Sandbox) -> dict[str, int]:
    return {
        name: counts["refreshes_attempted"] for name, counts in sandbox.stats()["users"].items()
    }
