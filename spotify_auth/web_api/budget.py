"""How much of Spotify's limit the pages may use up, all users and processes together.

Spotify limits the application, over a window of about 30 s, and answers everybody with 429 when it
is reached. So the pages stop before: their calls fail fast, as during a pause, and the rest of the
limit stays for logins and for what else the application does. Lanes ask the token endpoint, which
no call of a page is counted towards, and they are never counted here.
"""

from spotify_auth import rate_limits
from spotify_auth.conf import settings
from spotify_auth.rate_limits import Limited, Use
from spotify_auth.web_api.errors import RateLimited

WINDOW_SECONDS = 30.0


def take(calls: int) -> None:
    """Count calls that are about to be made. Raises RateLimited when the budget is spent."""
    try:
        rate_limits.take(
            Use(
                name="web_api_calls",
                who="",
                most=settings.RATE_LIMIT_WEB_API_CALLS,
                seconds=WINDOW_SECONDS,
                cost=calls,
            )
        )
    except Limited as limited:
        raise RateLimited(retry_after=limited.retry_after) from None
