"""The short words for failures: a row's `last_error`, an event's `error`, a line of the log."""

from enum import StrEnum


class FailureCode(StrEnum):
    """Why an exchange gave no tokens, or none that this service can use.

    Two kinds of codes have no member here: `http_503` and its like, and the names that
    RFC 6749, section 5.2, gives to errors of the client.
    """

    INVALID_GRANT = "invalid_grant"
    """Spotify no longer accepts the refresh token."""
    ANSWER_LOST = "answer_lost"
    """The same, after an answer was lost: Spotify had rotated, and the new token is unknown."""
    SIX_MONTHS_OVER = "six_months_over"
    """The same, six months after the user approved."""
    UNDECRYPTABLE = "undecryptable"
    """No key opens the stored tokens."""
    CLIENT_REFUSED = "client_refused"
    """Spotify has refused this token's requests for hours with an error of the client, while it
    served others."""
    BACKUP_RESTORED = "backup_restored"
    """The token is from a backup, and may have been rotated since: it is not presented."""
    REQUIRED_BY_ADMIN = "required_by_admin"
    """An administrator has asked the user to reconnect: the token is not presented."""
    UNSTORABLE = "unstorable"
    """PostgreSQL refused to store the answer."""
    UNFORESEEN = "unforeseen"
    """An exception that no rule knows: its traceback is in the log."""
    SAVED_GRANT_UNREADABLE = "saved_grant_unreadable"
    """A grant is saved in Redis, and this version or these keys cannot read it."""

    RATE_LIMITED = "rate_limited"

    CONNECT_TIMEOUT = "connect_timeout"
    CONNECTION_REFUSED = "connection_refused"
    HANDSHAKE_FAILED = "handshake_failed"
    CERTIFICATE_REFUSED = "certificate_refused"

    TIMEOUT = "timeout"
    CONNECTION_CUT = "connection_cut"
    ANSWER_CUT_SHORT = "answer_cut_short"

    ANSWER_TOO_LARGE = "answer_too_large"
    ANSWER_MALFORMED = "answer_malformed"
    ANSWER_WITHOUT_ACCESS_TOKEN = "answer_without_access_token"  # noqa: S105  (a word)
    ANSWER_WITHOUT_REFRESH_TOKEN = "answer_without_refresh_token"  # noqa: S105  (a word)


_NOBODY_LISTENS = "there was no connection to Spotify"
_MEANINGS: dict[str, str] = {
    FailureCode.INVALID_GRANT: "Spotify refused the refresh token",
    FailureCode.ANSWER_LOST: "Spotify refused the refresh token after an answer was lost",
    FailureCode.SIX_MONTHS_OVER: "Spotify ends every connection six months after it was approved",
    FailureCode.UNDECRYPTABLE: "no key of this service opens the stored tokens",
    FailureCode.CLIENT_REFUSED: "Spotify refused this token alone, for hours, as a client's error",
    FailureCode.BACKUP_RESTORED: "the token is from a backup and may have been replaced since",
    FailureCode.REQUIRED_BY_ADMIN: "an administrator requires a reconnect",
    FailureCode.UNSTORABLE: "PostgreSQL did not store the answer, which is saved in Redis",
    FailureCode.UNFORESEEN: "an unforeseen error, whose traceback is in the log",
    FailureCode.SAVED_GRANT_UNREADABLE: "the answer saved in Redis cannot be read by this worker",
    FailureCode.RATE_LIMITED: "Spotify asked to slow down",
    FailureCode.CONNECT_TIMEOUT: _NOBODY_LISTENS,
    FailureCode.CONNECTION_REFUSED: _NOBODY_LISTENS,
    FailureCode.HANDSHAKE_FAILED: "there was no secure connection to Spotify",
    FailureCode.CERTIFICATE_REFUSED: "Spotify's certificate was not valid",
    FailureCode.TIMEOUT: "Spotify did not answer in time, and may have replaced the token",
    FailureCode.CONNECTION_CUT: "the connection was cut, and Spotify may have replaced the token",
    FailureCode.ANSWER_CUT_SHORT: "half an answer came, and Spotify may have replaced the token",
    FailureCode.ANSWER_TOO_LARGE: "Spotify's answer was too large",
    FailureCode.ANSWER_MALFORMED: "Spotify's answer could not be read",
    FailureCode.ANSWER_WITHOUT_ACCESS_TOKEN: "Spotify's answer had no access token",
    FailureCode.ANSWER_WITHOUT_REFRESH_TOKEN: "Spotify's answer had no refresh token",
}


def meaning_of(code: str) -> str:
    """A code in words for an operator, as part of a sentence; blank for none."""
    if code.startswith("http_"):
        return f"Spotify answered {code.removeprefix('http_')}"
    if code and code not in _MEANINGS:
        return f"Spotify refused this service's request ({code})"
    return _MEANINGS.get(code, "")
