"""The peers: packages that refresh inside a request, and this service, in the same run."""

from collections.abc import Sequence

from benchmarks.measurement import Row, micro
from benchmarks.peers import scenario
from benchmarks.peers.contestants import CONTESTANTS, KEEPER

TITLE = "Compared with other packages"


def run(*, long: bool) -> list[Row]:
    """Each package under each policy; docs/explanation/peers.md describes their setup."""
    results = list(scenario.measure(CONTESTANTS))
    return [*map(_row, results), _reads(results)]


def _row(result: scenario.Row) -> Row:
    return Row(
        what=" ".join([result.contestant.name, *result.versions.values(), f"({result.policy})"]),
        target="",
        figure=f"{result.saw_error} of {result.users} saw an error, "
        f"{result.lost} lost their token; "
        f"{result.exchanges_per_expiry:.1f} exchanges per expiry; "
        f"page at expiry {_ms(result.at_expiry)}, otherwise {_ms(result.otherwise)} "
        "(p50 / p99)",
        floor=f"{micro(result.read)} one read",
    )


def _reads(results: Sequence[scenario.Row]) -> Row:
    reads = {result.contestant: result.read for result in results}
    ours = reads.pop(KEEPER)
    fastest = min(reads, key=reads.__getitem__)
    return Row(
        what="one read, this service and the peers that keep tokens in a database",
        target="below each of them",
        figure=micro(ours),
        floor=f"{micro(reads[fastest])} {fastest.name}, the lowest",
        met=ours < reads[fastest],
    )


def _ms(latency: scenario.Latency) -> str:
    return f"{latency.p50 * 1000:.0f} / {latency.p99 * 1000:.0f} ms"
