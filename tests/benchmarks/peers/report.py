"""The rows as a Markdown table."""

from collections.abc import Iterable, Iterator

from tests.benchmarks.peers.scenario import Latency, Row

_HEAD = (
    "| | policy | saw an error | token lost | exchanges per expiry "
    "| page at expiry p50 / p99 | page otherwise p50 / p99 | one read |",
    "|---|---|---|---|---|---|---|---|",
)


def table(rows: Iterable[Row]) -> Iterator[str]:
    """The lines of the table, each as soon as its row is there."""
    yield from _HEAD
    for row in rows:
        versions = ", ".join(f"{name} {number}" for name, number in row.versions.items())
        yield (
            f"| {row.contestant.name}{f' ({versions})' if versions else ''} | {row.policy} "
            f"| {row.saw_error} of {row.users} | {row.lost} of {row.users} "
            f"| {row.exchanges_per_expiry:.1f} "
            f"| {_ms(row.at_expiry)} | {_ms(row.otherwise)} | {row.read * 1e6:.0f} µs |"
        )


def _ms(latency: Latency) -> str:
    return f"{latency.p50 * 1000:.0f} / {latency.p99 * 1000:.0f} ms"
