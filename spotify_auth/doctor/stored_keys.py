"""Stored values, and whether a key opens them."""

from collections.abc import Iterator

import redis

from spotify_auth.doctor.findings import Finding, ok, problem, warning
from spotify_auth.maintenance import key_counts


def look_at_keys() -> Iterator[Finding]:
    """Every stored value is under the first key, or under one that may not go yet."""
    try:
        counts = key_counts.count().counts
    except redis.RedisError:
        counts = key_counts.count_in_postgresql()
        yield warning(
            "Redis was not asked for grants under an old key.", "The line redis says more."
        )
    missing = [count for count in counts if count.state == "missing"]
    retired = [count for count in counts if count.state == "retired"]
    for count in missing:
        yield problem(
            f"No key opens {count.values} values of {count.place}: they are under key {count.key}.",
            "Put that key back into TOKEN_ENCRYPTION_KEYS, behind the first, and run "
            "`manage.py tokens rotate-keys`. If it is lost, these users must log in again "
            "(docs/how-to/add-a-key.md).",
        )
    for count in retired:
        yield warning(
            f"{count.values} values of {count.place} are under the older key {count.key}.",
            "Run `manage.py tokens rotate-keys` before you take that key away.",
        )
    if not missing and not retired:
        stored = sum(count.values for count in counts)
        yield ok(
            f"The first key opens all {stored} stored values." if stored else "None is stored."
        )
