"""One POST to the token endpoint, and what it is answered."""

import functools
import json
import logging
from collections.abc import Mapping
from ssl import SSLCertVerificationError
from typing import Any, TypeGuard
from urllib.parse import urlencode

import requests
from requests.utils import default_headers
from urllib3.exceptions import HTTPError, NewConnectionError, ProxyError, SSLError

from spotify_auth import http_client
from spotify_auth.accounts_service.answers import (
    CLIENT_ERRORS,
    Answer,
    AnswerLost,
    ClientRefused,
    Granted,
    RateLimited,
    Refused,
    Unavailable,
    Unreadable,
)
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.conf import settings
from spotify_auth.failure_codes import FailureCode
from spotify_auth.http_client import BoundedSession, HandshakeFailed, retry_after

logger = logging.getLogger(__name__)

ANSWER_BYTES = 64 * 1024
LONGEST_LIFETIME = 24 * 3600
LONGEST_DESCRIPTION = 500


def session_of_this_thread() -> BoundedSession:
    """This thread's HTTP session for calls of TOKEN_ENDPOINT_DEADLINE_SECONDS at most."""
    return http_client.session_of_this_thread(
        total_seconds=settings.TOKEN_ENDPOINT_DEADLINE_SECONDS
    )


def post(form: Mapping[str, str], http: BoundedSession, *, lifetime: float) -> Answer:
    """Send one grant request, authenticated as this client, and classify the answer.

    Never tries twice, never follows a redirect, and raises nothing for whatever Spotify
    or the network does. `lifetime` in seconds stands in for an `expires_in` that is missing
    or makes no sense: RFC 6749, section 5.1, only recommends to send one.
    """
    request = _prepared(
        settings.SPOTIFY_ACCOUNTS_URL, settings.SPOTIFY_CLIENT_ID, settings.SPOTIFY_CLIENT_SECRET
    ).copy()
    request.body = urlencode(form)
    request.headers["Content-Length"] = str(len(request.body))
    try:
        response = http.send(request, stream=True)
    except requests.RequestException as error:
        return _no_answer(error)
    with response:
        try:
            body = response.raw.read(ANSWER_BYTES + 1, decode_content=True)
        except (HTTPError, OSError):
            return AnswerLost(FailureCode.ANSWER_CUT_SHORT)
        if len(body) > ANSWER_BYTES:
            unusable = Unreadable if response.status_code == 200 else Unavailable
            return unusable(FailureCode.ANSWER_TOO_LARGE)
        return _classify(response.status_code, response.headers, body, lifetime)


@functools.cache
def _prepared(accounts_url: str, client_id: str, client_secret: str) -> requests.PreparedRequest:
    """All of the request but its body: preparing it anew would cost a fifth of a call."""
    return requests.Request(
        "POST",
        f"{accounts_url}/api/token",
        headers={
            **default_headers(),
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
        },
        auth=(client_id, client_secret),
    ).prepare()


def _no_answer(error: requests.RequestException) -> AnswerLost | Unavailable:
    """Tell a request that never left from one that may have been carried out."""
    if isinstance(error, requests.ConnectTimeout):
        return Unavailable(FailureCode.CONNECT_TIMEOUT)
    reason = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(reason, HandshakeFailed):
        return Unavailable(FailureCode.HANDSHAKE_FAILED)
    if isinstance(reason, NewConnectionError | ProxyError):
        return Unavailable(FailureCode.CONNECTION_REFUSED)
    if isinstance(reason, SSLError) and isinstance(reason.args[0], SSLCertVerificationError):
        return Unavailable(FailureCode.CERTIFICATE_REFUSED)
    if isinstance(error, requests.Timeout):
        return AnswerLost(FailureCode.TIMEOUT)
    return AnswerLost(FailureCode.CONNECTION_CUT)


def _classify(status: int, headers: Mapping[str, str], body: bytes, lifetime: float) -> Answer:
    if status == 429:
        return RateLimited(retry_after(headers))
    answer = _json_object(body)
    if status == 200:
        return _granted(answer, lifetime)
    error = answer.get("error")
    words = answer.get("error_description")
    description = words[:LONGEST_DESCRIPTION] if isinstance(words, str) else ""
    if status == 400 and error == "invalid_grant":
        return Refused(description=description)
    if status in {400, 401} and isinstance(error, str) and error in CLIENT_ERRORS:
        return ClientRefused(error, description=description)
    return Unavailable(f"http_{status}")


def _json_object(body: bytes) -> dict[str, Any]:
    """The body as a JSON object; anything else is an empty one, which no rule accepts."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _granted(answer: Mapping[str, Any], lifetime: float) -> Granted | Unreadable:
    access_token = answer.get("access_token")
    if not isinstance(access_token, str) or not access_token:
        return Unreadable(FailureCode.ANSWER_WITHOUT_ACCESS_TOKEN)
    refresh_token = answer.get("refresh_token")
    if not _is_visible(access_token) or not (refresh_token is None or _is_visible(refresh_token)):
        return Unreadable(FailureCode.ANSWER_MALFORMED)
    expires_in = _seconds(answer.get("expires_in"))
    if expires_in is None:
        # A reason to distrust the lifetime, and not to drop tokens that are well formed.
        expires_in = int(min(max(lifetime, 1), LONGEST_LIFETIME))
        logger.warning("lifetime_assumed seconds=%s", expires_in)
    scope = answer.get("scope")
    return Granted(
        Grant(
            access_token=access_token,
            refresh_token=refresh_token or None,
            expires_in=expires_in,
            scope=scope.strip() if _is_visible(scope) else "",
        )
    )


def _is_visible(value: object) -> TypeGuard[str]:
    """Whether this is a string of visible characters and spaces (RFC 6749, appendix A)."""
    return isinstance(value, str) and value.isascii() and value.isprintable()


def _seconds(value: object) -> int | None:
    """`expires_in`; digits in a string are accepted, as some servers send them. None: absurd."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:10])
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 1 <= value <= LONGEST_LIFETIME else None
