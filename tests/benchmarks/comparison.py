"""The peers: libraries that refresh inline, beside this service, in the same run."""

from tests.benchmarks.peers.contestants import CONTESTANTS
from tests.benchmarks.peers.scenario import Latency, measure
from tests.benchmarks.rows import Row, micro

TITLE = "Beside what people use today"


def run(*, long: bool) -> list[Row]:
    """Each under each policy; docs/peers.md says how each is set up."""
    return [
        Row(
            what=" ".join(
                [result.contestant.name, *result.versions.values(), f"({result.policy})"]
            ),
            target="",
            figure=f"{result.saw_error} of {result.users} saw an error, "
            f"{result.lost} lost their token; "
            f"{result.exchanges_per_expiry:.1f} exchanges an expiry; "
            f"page at expiry {_ms(result.at_expiry)}, otherwise {_ms(result.otherwise)} "
            "(p50 / p99)",
            floor=f"{micro(result.read)} one read",
        )
        for result in measure(CONTESTANTS)
    ]


def _ms(latency: Latency) -> str:
    return f"{latency.p50 * 1000:.0f} / {latency.p99 * 1000:.0f} ms"
