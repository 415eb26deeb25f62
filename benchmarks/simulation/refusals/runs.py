"""The runs whose figures are in docs/measurements/simulation-refusals.md."""

from collections.abc import Iterator

from benchmarks.simulation.refusals.scenario import (
    HOUR,
    LATENCY_SECONDS,
    Fault,
    Refused,
    usual_lanes,
)
from benchmarks.simulation.scenario import lanes_for
from spotify_auth.conf import DEFAULTS

SIZES = (200, 10_000, 1_000_000)
DURATIONS = {"40 s": 40.0, "10 min": 600.0, "3 h": 3 * HOUR}
SHARES = (0.01, 0.1, 0.5, 0.9, 1.0)
REFRESH_LANES = int(DEFAULTS["REFRESH_LANES"])
LONGEST = 26 * HOUR
"""After a fault: the last appeal is 24 hours after the verdict."""


def lies(duration: str, users: int) -> Iterator[Fault]:
    """False refusals of each share and kind, for this long."""
    for refused in (Refused.ANSWERS, Refused.USERS):
        for share in SHARES:
            if share == 1.0 and refused is Refused.USERS:
                continue  # the same as every answer
            whom = "answers" if refused is Refused.ANSWERS else "users"
            yield Fault(
                name=f"{share * 100:.0f} % of {whom}",
                users=users,
                lanes=usual_lanes(users),
                refused=refused,
                share=share,
                seconds=DURATIONS[duration],
                longest=DURATIONS[duration] + LONGEST,
            )


def truths(users: int) -> Iterator[Fault]:
    """True mass refusals, beside users who are well."""
    lanes = usual_lanes(users)
    for name, refused, share, logins in (
        ("six months over for a tenth", Refused.SIX_MONTHS, 0.1, 0.0),
        ("passwords of a tenth reset", Refused.DEAD, 0.1, 0.0),
        ("passwords of two thirds reset", Refused.DEAD, 2 / 3, 0.0),
        ("another client id", Refused.DEAD, 1.0, 0.1),
    ):
        yield Fault(
            name=name,
            users=users,
            lanes=lanes,
            refused=refused,
            share=share,
            logins_an_hour=logins,
        )
    few = lanes_for(users, latency=LATENCY_SECONDS, headroom=1.2)
    if few > REFRESH_LANES:
        yield Fault(
            name="two thirds, lanes for 1.2 x the need",
            users=users,
            lanes=few,
            refused=Refused.DEAD,
            share=2 / 3,
        )
