"""The connection to Redis for what workers tell each other: pauses, marks, rescued grants.

Nothing here is a truth: every caller goes on without Redis. What a process knows of a Redis
that is away is in `redis_health`.
"""

import hashlib
import threading
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, cast

import redis
from django.utils.crypto import salted_hmac
from redis.backoff import NoBackoff
from redis.retry import Retry

from spotify_auth.conf import settings
from spotify_auth.redis_health import Health
from spotify_auth.redis_url import for_redis

TIMEOUT_SECONDS = 1.0

NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""
"""Lua for a script that goes by Redis's clock: `now` in milliseconds."""


def keyed_digest(purpose: str, text: str) -> str:
    """A part of a key's name that says nothing of `text`: SECRET_KEY is in it.

    The digest of an address alone would be found by trying all.
    """
    return salted_hmac(purpose, text, algorithm="sha256").hexdigest()[:32]


_READS = {"GET", "PTTL", "SCAN"}
"""The commands of this service that a read-only replica answers as well."""


Argument = str | float | bytes


class Client(redis.Redis):
    """One connection, which remembers for all threads whether the server answers."""

    health: Health
    urgent = False

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send one command. Raises redis.RedisError, also without asking (`Health`)."""
        command = partial(super().execute_command, *args, **options)
        return self._ask(command, reads=args[0] in _READS)

    def evaluate(self, script: str, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        """Run a script by its digest. Raises redis.RedisError, also without asking (`Health`).

        By the connection itself: each refresh asks so, and the client's own way there costs as
        much as the question (docs/explanation/decisions.md).
        """
        call = partial(self._send, "EVALSHA", _digest(script), len(keys), *keys, *args)
        try:
            return self._ask(call)
        except redis.exceptions.NoScriptError:
            self._ask(partial(self._send, "SCRIPT", "LOAD", script))
            return self._ask(call)

    def _send(self, *command: Argument) -> Any:
        connection = self.connection
        assert connection  # noqa: S101  (it is a client of one connection)

        def exchange() -> Any:
            connection.send_command(*command)  # type: ignore[no-untyped-call]
            return connection.read_response()

        def hang_up(_error: Exception) -> None:
            connection.disconnect()  # type: ignore[no-untyped-call]

        return connection.retry.call_with_retry(exchange, hang_up)

    def _ask(self, command: Callable[[], Any], *, reads: bool = False) -> Any:
        """Twice where a primary was demoted: its address may lead to the new one by now."""
        with self.health.asking(urgent=self.urgent, reads=reads):
            try:
                return self._ask_once(command)
            except redis.ReadOnlyError:
                return self._ask_once(command)

    def _ask_once(self, command: Callable[[], Any]) -> Any:
        try:
            return command()
        except redis.ResponseError as error:
            if not _is_read_only(error):
                raise
            if self.connection:
                self.connection.disconnect()  # type: ignore[no-untyped-call]
            raise redis.ReadOnlyError("Redis is a read-only replica") from error


@cache
def _digest(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


class _Local(threading.local):
    """One connection a thread: taking one out of a pool costs a quarter of a call."""

    def __init__(self) -> None:
        self.url = ""
        self.client: Client | None = None


_local = _Local()
_health: dict[str, Health] = {}
"""One for each address. There is one address in a process that is no test."""


def client(*, urgent: bool = False) -> Client:
    """This thread's client. Raises redis.RedisError.

    A server that is gone costs a second or two. After that, calls fail at once for
    half a minute. An `urgent` call always asks: it carries what exists nowhere else.
    """
    url = settings.REDIS_URL
    if _local.client is None or _local.url != url:
        health = _health.setdefault(url, Health())
        with health.asking(urgent=urgent, reads=True):
            _local.client = _connected(url)
        _local.client.health = health
        _local.url = url
    _local.client.urgent = urgent
    return _local.client


def forget() -> None:
    """Know nothing of a Redis that is away, as a new process does: for tests."""
    for health in _health.values():
        health.forget()


def run(script: str, *, keys: Sequence[str], args: Sequence[Argument] = ()) -> Any:
    """Run a Lua script, sent once and then called by its digest. Raises redis.RedisError.

    If the connection is lost in the middle it may run twice.
    """
    return client().evaluate(script, keys, args)


def _connected(url: str) -> Client:
    connected = Client.from_url(
        for_redis(url),
        single_connection_client=True,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        # Once more for a connection that was lost while it was idle; not after a time-out.
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
    )
    return cast(Client, connected)


def _is_read_only(error: redis.ResponseError) -> bool:
    # Before version 7 the refusal of a script comes as another error with this word in it.
    return isinstance(error, redis.ReadOnlyError) or "-READONLY" in str(error)
