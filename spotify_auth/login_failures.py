"""Why a login fails."""

from enum import StrEnum

LONGEST_SECONDS = 86_400.0
"""A longer wait than this is a fault of the answer."""


class Reason(StrEnum):
    """Why a login came to no grant, or its grant was not stored."""

    UNKNOWN_STATE = "unknown_state"
    """The state is wrong, used already, too old, or from another browser; or begun for something
    that this site does not do."""
    ANOTHER_USER = "another_user"
    """Begun by a user who is not the one that is logged in now."""
    LOGGED_IN_MEANWHILE = "logged_in_meanwhile"
    """Begun while nobody was logged in, and somebody is now."""
    LOGGED_OUT_MEANWHILE = "logged_out_meanwhile"
    """Begun by a user, and nobody is logged in now."""
    ACCESS_DENIED = "access_denied"
    """The user refused on Spotify's page."""
    SPOTIFY_ERROR = "spotify_error"
    """Spotify's page failed, or sent nothing that makes sense."""
    REQUEST_REFUSED = "request_refused"
    """Spotify's page refused what this site asks for, a misspelt scope for example."""
    CODE_REFUSED = "code_refused"
    REDIRECT_URI_REFUSED = "redirect_uri_refused"
    """The exchange named a redirect URI that Spotify does not accept."""
    MISCONFIGURED = "misconfigured"
    """Spotify refused this site's own credentials."""
    NO_ANSWER = "no_answer"
    PAUSED = "paused"
    """The token endpoint is not asked for a while: the code was not used."""
    RATE_LIMITED = "rate_limited"
    """Spotify limits the application for a while."""
    QUOTA_SPENT = "quota_spent"
    """The application's calls of the day are used up: a matter of hours."""
    OWNER_WITHOUT_PREMIUM = "owner_without_premium"
    """The owner of the application has no Premium subscription: Spotify answers nothing."""
    PROFILE_REFUSED = "profile_refused"
    """Spotify refused to say whose account it is, for no reason that is known here."""
    NOT_ALLOWED = "not_allowed"
    """The app is in development mode, and the account is not on its list."""
    NO_ACCOUNT_ID = "no_account_id"
    DIFFERENT_ACCOUNT = "different_account"
    """The user has connected another Spotify account."""
    LINKED_TO_ANOTHER = "linked_to_another"
    """The Spotify account belongs to another user."""
    BUSY = "busy"
    """A refresh held the token for longer than a request can wait."""


class LoginFailed(Exception):
    """A login failed; `reason` is a word for the log and for choosing the page's words.

    `retry_after` is in how many seconds Spotify answers again, if it said so. With `keeps_attempt`
    the attempt and its code were not used: the same request may be made again.
    """

    def __init__(
        self, reason: StrEnum, *, retry_after: float | None = None, keeps_attempt: bool = False
    ) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.keeps_attempt = keeps_attempt
        self.retry_after = None if retry_after is None else min(retry_after, LONGEST_SECONDS)
