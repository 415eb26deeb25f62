"""What a successful exchange gave."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """A successful answer of the token endpoint (RFC 6749, section 5.1).

    `refresh_token` is None when the answer had none: the one in use then stays valid
    (https://developer.spotify.com/documentation/web-api/tutorials/refreshing-tokens).
    `expires_in` is in seconds from the start of the exchange. `scope` may be blank.
    """

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_in: int
    scope: str
