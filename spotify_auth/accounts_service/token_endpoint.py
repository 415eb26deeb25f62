"""One grant request at the token endpoint, and what it is answered."""

import json
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from spotify_auth.accounts_service import spotify
from spotify_auth.accounts_service.answers import (
    CLIENT_ERRORS,
    Answer,
    ClientRefused,
    Granted,
    RateLimited,
    Refused,
    Unavailable,
    Unreadable,
)
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.accounts_service.transport import Response, Transport
from spotify_auth.failure_codes import FailureCode
from spotify_auth.retry_after import retry_after
from spotify_auth.text import is_visible

logger = logging.getLogger(__name__)

LONGEST_DESCRIPTION = 500


def post(form: Mapping[str, str], transport: Transport, *, lifetime: float) -> Answer:
    """Send one grant request, authenticated as this client, and classify the answer.

    Never tries twice, never follows a redirect, and raises nothing for whatever Spotify
    or the network does. `lifetime` in seconds stands in for an `expires_in` that is missing
    or makes no sense: RFC 6749, section 5.1, only recommends to send one.
    """
    # The names are our own; `urlencode` would quote them too, for a tenth of the worker's exchange.
    body = "&".join(f"{name}={quote(value, safe='')}" for name, value in form.items())
    response = transport.post(body.encode())
    if not isinstance(response, Response):
        return response
    if response.body is None:
        unusable = Unreadable if response.status == 200 else Unavailable
        return unusable(FailureCode.ANSWER_TOO_LARGE)
    if response.status == 429:
        return RateLimited(retry_after(response.headers))
    return _classify(response.status, response.body, lifetime)


def _classify(status: int, body: bytes, lifetime: float) -> Answer:
    answer = _json_object(body)
    if status == 200:
        return _granted(answer, lifetime)
    error = answer.get("error")
    words = answer.get("error_description")
    description = words[:LONGEST_DESCRIPTION] if isinstance(words, str) else ""
    if (status, error) == spotify.REFUSED:
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
    if not is_visible(access_token) or not (refresh_token is None or is_visible(refresh_token)):
        return Unreadable(FailureCode.ANSWER_MALFORMED)
    expires_in = _seconds(answer.get("expires_in"))
    if expires_in is None:
        # A reason to distrust the lifetime, and not to drop tokens that are well formed.
        expires_in = int(min(max(lifetime, 1), spotify.LONGEST_LIFETIME_SECONDS))
        logger.warning("lifetime_assumed seconds=%s", expires_in)
    scope = answer.get("scope")
    return Granted(
        Grant(
            access_token=access_token,
            refresh_token=refresh_token or None,
            expires_in=expires_in,
            scope=scope.strip() if is_visible(scope) else "",
        )
    )


def _seconds(value: object) -> int | None:
    """`expires_in`; digits in a string are accepted, as some servers send them. None: absurd."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:10])
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 1 <= value <= spotify.LONGEST_LIFETIME_SECONDS else None
