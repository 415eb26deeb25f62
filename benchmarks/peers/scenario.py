"""The scenario: users come back with several tabs at the time of expiry, three times."""

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import environment
from benchmarks.peers.contestants import CONTESTANTS, Contestant
from benchmarks.peers.load import Load, Visit, percentile
from benchmarks.peers.site import Site
from tests.support.sandbox_client import Sandbox

USERS, TABS, EXPIRIES = 45, 8, 3
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


def measure(contestants: Sequence[Contestant] = CONTESTANTS) -> Iterator[Row]:
    """Three rows for each contestant, one after the other on the same machine.

    Needs the settings of `python -m dev.bench` in the environment.
    """
    python = environment.install()
    for contestant in contestants:
        yield from _measure(contestant, python)


def _measure(contestant: Contestant, python: Path) -> Iterator[Row]:
    names = [f"user-{n}" for n in range(1, USERS + 1)]
    policy_of = {name: POLICIES[n % 3] for n, name in enumerate(names)}
    with Sandbox(access_token_lifetime=contestant.lifetime) as sandbox:
        site = Site(contestant, python=python, sandbox=sandbox)
        prepared = site.people("prepare", names)
        sessions: dict[str, str] = prepared["sessions"]
        sandbox.faults("latency", seconds=LATENCY_SECONDS)
        for policy, fault in ((KEPT, "no_rotation"), (REVOKED, "reuse_revokes_grant")):
            sandbox.faults(fault, users=[name for name in names if policy_of[name] == policy])
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
    for policy in POLICIES:
        users = {name for name in names if policy_of[name] == policy}
        visits = [visit for visit in load.visits if visit.name in users]
        yield Row(
            contestant=contestant,
            versions=versions,
            policy=policy,
            users=len(users),
            lost=len(dead & users),
            exchanges_per_expiry=sum(after[n] - before[n] for n in users) / len(users) / EXPIRIES,
            read=prepared["read_seconds"],
            saw_error=len({visit.name for visit in visits if visit.status != 200}),
            at_expiry=_latency([visit for visit in visits if visit.at_expiry]),
            otherwise=_latency([visit for visit in visits if not visit.at_expiry]),
        )


def _latency(visits: Sequence[Visit]) -> Latency:
    times = [visit.seconds for visit in visits]
    return Latency(p50=percentile(times, 0.50), p99=percentile(times, 0.99))


def _exchanges(sandbox: Sandbox) -> dict[str, int]:
    return {
        name: counts["refreshes_attempted"] for name, counts in sandbox.stats()["users"].items()
    }
