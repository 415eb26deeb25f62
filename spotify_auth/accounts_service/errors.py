"""What the token endpoint can say other than yes.

AccountsServiceError
|-- GrantRefused          invalid_grant: this code or refresh token is not accepted
|-- ClientRefused         our own credentials or request are wrong: every user would fail
|-- RateLimited           429: the whole application should pause
|-- Unavailable           Spotify could not answer
|   `-- AnswerUnreadable  it was a success, and what it granted cannot be told
`-- AnswerUnknown         the request went out and no whole answer came: it may have counted
"""


class AccountsServiceError(Exception):
    """The token endpoint gave no grant.

    `code` is a short word for events and logs. Neither it nor the message ever
    carries a token, a code or anything else from the request.
    """

    unanswered = False
    """Whether Spotify may have carried out the request, or one before it, without our
    learning what it granted."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class GrantRefused(AccountsServiceError):
    """400 `invalid_grant` (RFC 6749, section 5.2)."""


class ClientRefused(AccountsServiceError):
    """Any other error of RFC 6749, section 5.2: it condemns us, never a user's token."""


class RateLimited(AccountsServiceError):
    """429. `retry_after` is in seconds, or None when Spotify gave no usable number."""

    def __init__(self, code: str, *, retry_after: float | None) -> None:
        super().__init__(code)
        self.retry_after = retry_after


class Unavailable(AccountsServiceError):
    """A refused connection, a 5xx, or anything else that no rule knows."""


class AnswerUnreadable(Unavailable):
    """A 200 without a usable grant: not JSON, missing fields, absurd or unstorable values.

    The request counted: Spotify may have rotated.
    """

    unanswered = True


class AnswerUnknown(AccountsServiceError):
    """A time-out or a cut connection after the request was sent."""

    unanswered = True
