"""What the token endpoint can answer: a small closed set of values.

Granted         200 with tokens
Refused         400 invalid_grant: this code or refresh token is not accepted
ClientRefused   any other error of RFC 6749, section 5.2: our credentials or request are wrong
RateLimited     429: the whole application must slow down
Unavailable     Spotify could not answer, and has carried out nothing
Unreadable      200, but its content cannot be used: Spotify may have rotated
AnswerLost      the request went out and no whole answer came: Spotify may have rotated

`code` is a short word for events and logs. No answer but Granted carries a token.
"""

from dataclasses import dataclass, field

from spotify_auth.accounts_service.grant import Grant
from spotify_auth.failure_codes import FailureCode

CLIENT_ERRORS = frozenset(
    {
        "invalid_client",
        "invalid_request",
        "invalid_scope",
        "unauthorized_client",
        "unsupported_grant_type",
    }
)
"""Errors of RFC 6749, section 5.2, that speak of the client and never of the grant. Some servers
answer one of them for a single dead or foreign refresh token."""


@dataclass(frozen=True, slots=True)
class Granted:
    """Spotify gave tokens."""

    grant: Grant


@dataclass(frozen=True, slots=True)
class Refused:
    """400 `invalid_grant` (RFC 6749, section 5.2)."""

    code: str = FailureCode.INVALID_GRANT
    description: str = field(default="", compare=False, repr=False)
    """Spotify's `error_description`, as it came: for `text.for_the_log`."""


@dataclass(frozen=True, slots=True)
class ClientRefused:
    """Any other error of RFC 6749, section 5.2. `code` is the name that the RFC gives it."""

    code: str
    description: str = field(default="", compare=False, repr=False)
    """As that of `Refused`."""


@dataclass(frozen=True, slots=True)
class RateLimited:
    """429. `retry_after` is in seconds, or None when Spotify gave no usable number."""

    retry_after: float | None
    code: str = FailureCode.RATE_LIMITED


@dataclass(frozen=True, slots=True)
class Unavailable:
    """A refused connection, a 5xx, or anything else that no rule knows."""

    code: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A 200 without a usable grant: not JSON, missing fields, absurd or unstorable values."""

    code: str


@dataclass(frozen=True, slots=True)
class AnswerLost:
    """A time-out or a cut connection after the request was sent."""

    code: str


Failure = Refused | ClientRefused | RateLimited | Unavailable | Unreadable | AnswerLost
Answer = Granted | Failure
