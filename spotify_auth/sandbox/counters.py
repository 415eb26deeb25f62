"""What the sandbox counts, in total and for each account."""

from collections import deque
from dataclasses import asdict, dataclass, field

REMEMBERED_REFRESH_TIMES = 200


@dataclass(slots=True)
class Counters:
    """One set of counts.

    logins                  authorization codes exchanged, and grants minted by /__connect
    refreshes               refreshes that gave out a new access token
    refreshes_attempted     refresh requests with the right client secret, whatever came of them
    reuses_of_dead_token    refreshes with a token that rotation had already replaced
    rate_limited            answers of 429 to a token exchange
    invalid_grants          answers of `invalid_grant`, false ones included
    web_api_calls           requests under /v1
    web_api_unauthorized    those of them answered 401
    web_api_rate_limited    those of them answered 429
    in_flight_max           most token exchanges seen at the same moment
    """

    logins: int = 0
    refreshes: int = 0
    refreshes_attempted: int = 0
    reuses_of_dead_token: int = 0
    rate_limited: int = 0
    invalid_grants: int = 0
    web_api_calls: int = 0
    web_api_unauthorized: int = 0
    web_api_rate_limited: int = 0
    in_flight_max: int = 0

    def as_json(self) -> dict[str, int]:
        return asdict(self)


@dataclass(slots=True)
class AccountCounters(Counters):
    """The counts of one account, and when it was refreshed last.

    `refresh_times` are seconds since the sandbox started (or was reset).
    """

    refresh_times: deque[float] = field(
        default_factory=lambda: deque(maxlen=REMEMBERED_REFRESH_TIMES)
    )

    def as_json(self) -> dict[str, int]:
        counts = asdict(self)
        del counts["refresh_times"]
        return counts
