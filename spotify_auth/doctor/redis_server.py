"""Redis: the broker, and what workers tell each other. Its data may be lost, but not silently."""

from collections.abc import Iterator
from typing import Any, cast

import redis

from spotify_auth.conf import settings
from spotify_auth.doctor.findings import Finding, ok, problem, warning
from spotify_auth.doctor.redaction import address
from spotify_auth.redis_url import for_redis
from spotify_auth.text import one_line

TIMEOUT_SECONDS = 2.0
_WRITE_NOTHING = "return redis.call('SET', KEYS[1], '', 'XX')"
"""A write that changes nothing, since there is no such key."""
OLDEST = (6, 2)
"""What the tests run with."""
FULL = 0.8
"""The share of maxmemory from which on it is nearly full."""


def look_at_redis() -> Iterator[Finding]:
    """Version, primary or replica, what it throws away when it is full, what survives it."""
    # A client of its own: the service's remembers that Redis was away, and asks less then.
    with redis.Redis.from_url(
        for_redis(settings.REDIS_URL),
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        decode_responses=True,
    ) as client:
        info = cast("dict[str, Any]", client.info())
        yield _version(info)
        if info.get("role") != "master":
            yield problem(
                "It is a replica and takes no writes: no pauses, no limits, no new lanes.",
                "Let REDIS_URL lead to the primary, or promote this one (REPLICAOF NO ONE).",
            )
        else:
            yield from _writing(client)
    yield _eviction(info)
    yield _persistence(info)


def _writing(client: redis.Redis) -> Iterator[Finding]:
    """Whether it takes the writes of a script. Nothing, if it does."""
    try:
        client.eval(_WRITE_NOTHING, 1, "spotify_auth:doctor")
    except redis.ResponseError as error:
        yield problem(
            f"It takes no writes: no pauses, no limits, no new lanes. {one_line(str(error))}",
            "Look at the rights of REDIS_URL's user (ACL GETUSER), at min-replicas-to-write, and "
            "whether its memory or its disk is full.",
        )


def _version(info: dict[str, Any]) -> Finding:
    version = str(info["redis_version"])
    where = address(settings.REDIS_URL)
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        return problem(
            f"Redis {version} at {where} is too old.",
            f"Upgrade it to {'.'.join(map(str, OLDEST))} or later.",
        )
    return ok(f"Redis {version} answers at {where}.")


def _eviction(info: dict[str, Any]) -> Finding:
    policy, limit = info.get("maxmemory_policy", "noeviction"), int(info.get("maxmemory", 0))
    used = int(info["used_memory"])
    if policy != "noeviction":
        found = (
            f"Its maxmemory-policy is {policy}: when it is full it throws away queues, pauses "
            "and grants that PostgreSQL has not got yet."
        )
        advice = "Set maxmemory-policy to noeviction: then it refuses writes, which loses nothing."
        if limit:
            return problem(found, advice)
        return warning(f"{found} It has no maxmemory, so it never is now.", advice)
    if limit and used > FULL * limit:
        return warning(
            f"{used / limit:.0%} of its maxmemory are in use. When it is full it refuses writes.",
            "Raise maxmemory, and look what fills it: another application in the same Redis?",
        )
    full = f"{used / limit:.0%} of its memory are in use" if limit else "it has no memory limit"
    return ok(f"It throws nothing away (noeviction), and {full}.")


def _persistence(info: dict[str, Any]) -> Finding:
    failing = [
        name
        for name in ("aof_last_write_status", "rdb_last_bgsave_status")
        if info.get(name, "ok") != "ok"
    ]
    if failing:
        return problem(
            f"It cannot write its data to disk ({', '.join(failing)}), and may refuse writes.",
            "Look at its log, and whether its disk is full.",
        )
    if not info.get("aof_enabled"):
        return warning(
            "Its append-only file is off. All that it holds may be lost but one thing: a grant "
            "that a worker saved here while PostgreSQL was away.",
            "Set appendonly to yes (docs/how-to/operate.md).",
        )
    return ok("What it holds survives its restart (appendonly).")
