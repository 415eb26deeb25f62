"""The real service under the state machine's hands: PostgreSQL, Redis, and the sandbox.

PostgreSQL's clock is the only clock, so time passes by moving every stored time back.
"""

import re
import struct
from base64 import urlsafe_b64decode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import redis
from django.conf import settings
from django.db import connection as database

from accounts.users import user_for_account
from dev.process import free_port
from spotify_auth import connections, pace
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.models import SpotifyToken
from spotify_auth.refresh import saved_grants
from spotify_auth.refresh.decisions import SavedGrant
from spotify_auth.sandbox.state import account_id_of
from tests.support.claims import claim_of
from tests.support.model.spotify import RETRY_AFTER, Weather
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import grant_of

LOOKS_LIKE_A_TOKEN = re.compile(r"[AB]Q[A-Za-z0-9_-]{100,}")

_FAULTS: Mapping[Weather, Iterable[Mapping[str, Any]]] = {
    Weather.CLEAR: (),
    Weather.ROTATION: ({"fault": "rotation"},),
    Weather.NO_ROTATION: ({"fault": "no_rotation"},),
    Weather.BLANK_SCOPE: ({"fault": "blank_scope"},),
    Weather.LIMITED: ({"fault": "rate_limited", "retry_after": f"{RETRY_AFTER:.0f}"},),
    Weather.LIMITED_SILENTLY: ({"fault": "rate_limited", "retry_after": None},),
    Weather.UNAVAILABLE: ({"fault": "unavailable"},),
    Weather.HTML: ({"fault": "garbage", "content_type": "text/html"},),
    Weather.CLIENT_REFUSED: ({"fault": "invalid_client"},),
    Weather.FALSE_REFUSAL: ({"fault": "false_invalid_grant"},),
    Weather.RESET_ONCE: ({"fault": "connection_reset", "times": 1},),
    Weather.RESET: ({"fault": "connection_reset"},),
    Weather.LOST: ({"fault": "answer_lost", "times": 1},),
    Weather.LOST_TWICE: ({"fault": "answer_lost"},),
    Weather.LOST_WITH_GRACE: (
        {"fault": "answer_lost", "times": 1},
        {"fault": "grace_window", "seconds": 3600},
    ),
}
_MOVE_TOKENS = """
UPDATE spotify_auth_spotifytoken SET
    authorized_at = authorized_at - by, reauthorize_by = reauthorize_by - by,
    refreshed_at = refreshed_at - by, expires_at = expires_at - by, due_at = due_at - by,
    closed_at = closed_at - by, suspected_at = suspected_at - by, appeal_at = appeal_at - by
FROM make_interval(secs => %s) AS by
"""
_MOVE_EVENTS = "UPDATE spotify_auth_tokenevent SET at = at - make_interval(secs => %s)"
# A due time that is close would pass by itself, sooner or later on a slower machine.
_HOLD_STILL = """
UPDATE spotify_auth_spotifytoken SET due_at = due_at + interval '20 seconds'
WHERE user_id IN (SELECT user_id FROM spotify_auth_spotifytoken
                  WHERE due_at > now() AND due_at < now() + interval '20 seconds'
                  FOR UPDATE SKIP LOCKED)
"""
_DUE = """
SELECT user_id FROM spotify_auth_spotifytoken
WHERE status = 'active' AND due_at <= now() ORDER BY due_at
"""
_APPEALS = """
SELECT user_id FROM spotify_auth_spotifytoken
WHERE status = 'reconnect_required' AND appeal_at <= now() ORDER BY appeal_at
"""
_ROWS = """
SELECT user_id, status, access_token, refresh_token, scope, generation, due_cause, failures,
       suspected_at IS NOT NULL, last_error,
       extract(epoch FROM now() - refreshed_at)::float,
       extract(epoch FROM expires_at - refreshed_at)::float,
       extract(epoch FROM due_at - refreshed_at)::float,
       extract(epoch FROM due_at - now())::float,
       reauthorize_by - authorized_at BETWEEN interval '181 days' AND interval '184 days',
       to_jsonb(token) - ARRAY['access_token', 'refresh_token']
FROM spotify_auth_spotifytoken AS token
"""
_EVENTS = """
SELECT user_id, cause, outcome, generation_before, generation_after, rotated, error,
       event::text
FROM spotify_auth_tokenevent AS event ORDER BY id
"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A stored token. Of the two secrets only what the sandbox put into them is shown."""

    status: str
    access: tuple[int, int] | None
    """The number of its approval at Spotify, and its generation there."""
    refresh: tuple[int, int] | None
    scope: str
    generation: int
    cause: str
    failures: int
    suspected: bool
    last_error: str
    age: float
    lifetime: float
    due_after: float
    due_in: float
    six_months: bool
    text: str


@dataclass(frozen=True)
class RealLogin:
    """A grant of a log-in that has not come back yet, and when the log-in began."""

    grant: Grant
    issued_at: datetime


class World:
    """Some people of the sandbox, connected to the real service."""

    def __init__(self, spotify: Sandbox, keys: Iterable[str]) -> None:
        """Sets settings.REDIS_URL later on: the caller puts it back in the end."""
        self.spotify = spotify
        self._redis_url: str = settings.REDIS_URL
        self._no_redis_url = f"redis://127.0.0.1:{free_port()}/0"
        self.redis: Any = redis.Redis.from_url(self._redis_url)
        self._keys = list(keys)
        self.ids: dict[str, int] = {}

    def begin(self) -> None:
        """A world in which nothing has happened yet: three DELETEs, the cheapest reset."""
        self.spotify.reset()
        self.set_redis(away=False)
        self.redis.flushdb()
        with database.cursor() as cursor:
            for table in ("spotify_auth_tokenevent", "spotify_auth_spotifytoken", "accounts_user"):
                cursor.execute(f"DELETE FROM {table}")  # noqa: S608  (names of ours)
        self.ids = {}
        for key in self._keys:
            self.ids[key] = user_for_account(account_id=account_id_of(key), display_name=key).pk

    def key_of(self, user_id: int) -> str:
        return next(key for key, known in self.ids.items() if known == user_id)

    def login_begins(self, key: str, scope: str) -> RealLogin:
        issued_at = connections.database_now()
        return RealLogin(grant_of(self.spotify.connect([key], scope=scope)[key]), issued_at)

    def login_returns(self, key: str, login: RealLogin) -> None:
        connections.connect(user_id=self.ids[key], grant=login.grant, issued_at=login.issued_at)

    @contextmanager
    def weather(self, weather: Weather, *, hold: bool = False) -> Iterator[None]:
        """How the token endpoint behaves meanwhile; `hold`: it keeps its first answer back."""
        for fault in _FAULTS[weather]:
            self.spotify.faults(**fault)
        if hold:
            self.spotify.faults("hold", times=1)
        try:
            yield
        finally:
            if hold or weather is not Weather.CLEAR:
                self.spotify.clear()

    # Time.

    def time_passes(self, seconds: float) -> None:
        """For every row and every key in Redis. Log-ins under way: see `older`."""
        with database.cursor() as cursor:
            cursor.execute(_MOVE_TOKENS, [seconds])
            cursor.execute(_MOVE_EVENTS, [seconds])
        for key in self._hint_keys():
            if key.startswith("spotify_auth:rescued:"):
                self._make_rescued_older(key, seconds)
            left = self.redis.pttl(key) - int(seconds * 1000)
            if self.redis.pttl(key) >= 0:
                self.redis.pexpire(key, max(0, left))

    @staticmethod
    def older(login: RealLogin, seconds: float) -> RealLogin:
        """A log-in that has been under way for longer."""
        return replace(login, issued_at=login.issued_at - timedelta(seconds=seconds))

    def hold_still(self) -> None:
        """Let no due time come while the test is busy with something else."""
        with database.cursor() as cursor:
            cursor.execute(_HOLD_STILL)

    def make_due(self, key: str) -> None:
        """Due since a moment ago, and not as a nudge does it."""
        with database.cursor() as cursor:
            cursor.execute(
                "UPDATE spotify_auth_spotifytoken SET due_at = least(due_at, "
                "greatest(now() - interval '1 second', refreshed_at + interval '1 microsecond')) "
                "WHERE user_id = %s AND due_at > refreshed_at",
                [self.ids[key]],
            )

    def _make_rescued_older(self, key: str, seconds: float) -> None:
        user_id, generation = map(int, key.split(":")[2:])
        sealed, left = self.redis.get(key), self.redis.pttl(key)
        claim = claim_of(user_id, generation)
        saved = saved_grants.unseal(claim, sealed)
        assert isinstance(saved, SavedGrant)
        issued_at = datetime.fromisoformat(saved.issued_at) - timedelta(seconds=seconds)
        older = replace(saved, issued_at=issued_at.isoformat())
        url = settings.REDIS_URL
        settings.REDIS_URL = self._redis_url
        assert saved_grants.save(claim, older)
        settings.REDIS_URL = url
        self.redis.pexpire(key, left)

    # Redis.

    def set_redis(self, *, away: bool) -> None:
        """Whether the service reaches Redis; what Redis holds stays."""
        settings.REDIS_URL = self._no_redis_url if away else self._redis_url

    def forget_pace(self) -> None:
        """Let lanes ask as fast as they can: what 429s teach has tests of its own."""
        self.redis.delete(*pace.KEYS)

    def doubt_passes(self, key: str, generation: int, seconds: float) -> None:
        """The mark of this attempt becomes older."""
        mark = f"spotify_auth:attempt:{self.ids[key]}:{generation}"
        if self.redis.exists(mark):
            self.redis.pexpire(mark, self.redis.pttl(mark) - int(seconds * 1000))

    def hints(self) -> dict[str, str]:
        """What Redis holds of the service, rescued grants sealed."""
        keys = self._hint_keys()
        return {
            key: value.decode("latin-1")
            for key, value in zip(keys, self.redis.mget(keys) if keys else [], strict=True)
            if value is not None
        }

    def _hint_keys(self) -> list[str]:
        return [key.decode() for key in self.redis.scan_iter("spotify_auth:*", count=1000)]

    # What is stored.

    def due(self) -> list[str]:
        """Who is due, the most urgent first."""
        with database.cursor() as cursor:
            cursor.execute(_DUE)
            return [self.key_of(user_id) for (user_id,) in cursor.fetchall()]

    def appeals(self) -> list[str]:
        """Whose verdict may be appealed."""
        with database.cursor() as cursor:
            cursor.execute(_APPEALS)
            return [self.key_of(user_id) for (user_id,) in cursor.fetchall()]

    def rows(self) -> dict[str, Row]:
        with database.cursor() as cursor:
            cursor.execute(_ROWS)
            return {self.key_of(row[0]): self._row(*row) for row in cursor.fetchall()}

    def events(self) -> dict[str, list[tuple[Any, ...]]]:
        """Each person's history, the oldest first; the last of each tuple is the whole row."""
        events: dict[str, list[tuple[Any, ...]]] = {key: [] for key in self._keys}
        with database.cursor() as cursor:
            cursor.execute(_EVENTS)
            for user_id, *event in cursor.fetchall():
                events[self.key_of(user_id)].append(tuple(event))
        return events

    @staticmethod
    def _row(user_id: int, status: str, access: Any, refresh: Any, *others: Any) -> Row:
        return Row(
            status=status,
            access=access
            and facts_of(SpotifyToken.unseal("access_token", access, user_id=user_id)),
            refresh=refresh
            and facts_of(SpotifyToken.unseal("refresh_token", refresh, user_id=user_id)),
            **dict(zip(list(Row.__dataclass_fields__)[3:], others, strict=True)),
        )


def facts_of(token: str) -> tuple[int, int]:
    """The approval and the generation that the sandbox has written into a token of its own."""
    number, generation, _ = struct.unpack(">QQd", urlsafe_b64decode(token[2:])[:24])
    return number, generation
