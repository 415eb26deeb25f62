"""The peers: libraries that refresh inline, beside this service, in the same run."""

from tests.benchmarks.peers.contestants import CONTESTANTS
from tests.benchmarks.peers.scenario import measure
from tests.benchmarks.rows import Row, micro, milli

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
            f"page p99 at expiry {milli(result.at_expiry.p99)}, "
            f"otherwise {milli(result.otherwise.p99)}",
            floor=f"{micro(result.read)} one read",
        )
        for result in measure(CONTESTANTS)
    ]
