"""The first five: the rest is moved when a worker has refreshed that many.

What it goes by is in PostgreSQL: an import that was killed while it waited goes on waiting for
the same tokens when it is run again.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from django.db import connection

from spotify_auth import cooldown, freshness, service_pause
from spotify_auth.conf import settings
from spotify_auth.cooldown import Reason
from spotify_auth.importing.source import Refused
from spotify_auth.models import Cause, SpotifyToken, TokenEvent, UserId
from spotify_auth.schedule import longest_exchange

SIZE = 5
LOOK_EVERY_SECONDS = 0.2
# ONLY, since the routine successes of a day may be millions, and none of them is meant.
_ADOPTED = """
SELECT DISTINCT user_id, token.generation
FROM ONLY spotify_auth_tokenevent AS event JOIN spotify_auth_spotifytoken AS token USING (user_id)
WHERE cause = 'adopted' AND outcome = 'connected' AND at >= now() - interval '1 day'
"""
_WAITING = """
    token.generation = event.generation_after AND status = 'active' AND suspected_at IS NULL
    AND (due_at <= now() OR failures > 0)
"""
_SECRET = ("access_token", "refresh_token")
_ACTIVE, _RECONNECT_REQUIRED = SpotifyToken.Status.ACTIVE, SpotifyToken.Status.RECONNECT_REQUIRED
_NOT_REFRESHED = (
    "They are stored here: nothing else may refresh them. Look at `manage.py tokens history USER` "
    "and `manage.py doctor`. Run the same command again when that is mended, or hand them back "
    "with `manage.py tokens export`."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """How the imported tokens of the last day do: for so long five speak for the rest."""

    refreshed: int
    """No more than SIZE are counted."""
    waiting: Mapping[UserId, int]
    """Users whose tokens are due and not refreshed yet, and the generation of the import."""

    @property
    def missing(self) -> int:
        """How many more are to be tried."""
        return max(0, SIZE - self.refreshed - len(self.waiting))


def standing() -> Standing:
    """How it stands now. Raises django.db.Error."""
    with connection.cursor() as cursor:
        cursor.execute(f"{_ADOPTED} AND token.generation > event.generation_after LIMIT {SIZE}")
        refreshed = len(cursor.fetchall())
        cursor.execute(f"{_ADOPTED} AND {_WAITING} LIMIT {SIZE}")
        return Standing(refreshed=refreshed, waiting=dict(cursor.fetchall()))


def generation_of(user_id: UserId) -> int:
    """The generation of a token as it was just moved: a worker may have refreshed it since."""
    moved = TokenEvent.objects.filter(user_id=user_id, cause=Cause.ADOPTED)
    generation = moved.latest("id").generation_after
    assert generation is not None  # noqa: S101  (it is of every event that stores a pair)
    return generation


def refuse_unless_tokens_are_refreshed() -> None:
    """Look whether workers refresh now. Raises Refused, django.db.Error and redis.RedisError."""
    if paused := service_pause.current():
        raise Refused(
            f"All refreshing is paused by {paused.by}. Resume it first: imported tokens are tried."
        )
    refuse_while_client_is_refused()
    if cooldown.reason_or_raise() == Reason.RESTORING:
        raise Refused("A backup is being restored (`tokens after-restore`): wait for its end.")
    if not freshness.renewal_is_running():
        raise Refused(
            "No worker refreshes tokens: there was no sweep lately. Start a worker, and beat. "
            "Nothing more was moved."
        )


def refuse_while_client_is_refused() -> None:
    """Stop when Spotify refuses the application itself. Raises Refused and redis.RedisError."""
    if cooldown.reason_or_raise() == Reason.CLIENT_REFUSED:
        raise Refused(
            "Spotify refuses SPOTIFY_CLIENT_ID or SPOTIFY_CLIENT_SECRET. The rest was not moved. "
            "Mend that, and run the same command again."
        )


def wait(
    tried: Mapping[UserId, int], *, stopping: threading.Event, say: Callable[[str], None]
) -> None:
    """Wait until a worker has refreshed these tokens, or until `stopping` is set.

    Raises Refused if one is refused by Spotify, or not refreshed in time.
    """
    say(f"Waiting until a worker has refreshed the first {len(tried)}.")
    give_up = time.monotonic() + longest_wait()
    while not stopping.is_set():
        refuse_while_client_is_refused()
        rows = list(SpotifyToken.objects.filter(pk__in=tried).defer(*_SECRET).order_by("pk"))
        _refuse_refused(rows)
        left = [row for row in rows if row.generation == tried[row.pk] and row.status == _ACTIVE]
        if not left:
            say("They were refreshed: the rest follows.")
            return
        if time.monotonic() > give_up:
            errors = sorted({row.last_error for row in left} - {""})
            why = f": {', '.join(errors)}" if errors else ""
            raise Refused(
                f"{len(left)} of the first {len(tried)} were not refreshed within "
                f"{longest_wait():.0f} s{why}. The rest was not moved. {_NOT_REFRESHED}"
            )
        stopping.wait(LOOK_EVERY_SECONDS)


def longest_wait() -> float:
    """Seconds in which a due token is refreshed if all is well, and once more if it failed."""
    sweeps = freshness.MISSED_INTERVALS * settings.REFRESH_SWEEP_SECONDS
    return 2 * (sweeps + longest_exchange(settings.TOKEN_ENDPOINT_DEADLINE_SECONDS))


def _refuse_refused(rows: Iterable[SpotifyToken]) -> None:
    refused = [str(row.pk) for row in rows if row.suspected_at or row.status == _RECONNECT_REQUIRED]
    if refused:
        raise Refused(
            f"Spotify refused {len(refused)} of the first tokens, of user {', '.join(refused)}. "
            "The rest was not moved. Either these users have removed the app: then run the same "
            "command again, which tries others. Or all are refused, since they were granted to "
            "another application, by PKCE without a client secret, or are refreshed elsewhere "
            f"too. {_NOT_REFRESHED}"
        )
