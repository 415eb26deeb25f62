"""How often a password may be tried: counted in Redis before anything is hashed.

Hashing a password costs a third of a second of CPU, so a try above the limit is refused unhashed.
One script counts a try before its password is checked: a hundred tries at the same time are still
counted one by one. Nothing here is in PostgreSQL, where strangers could fill a table; in Redis
there are never more counters than OF_ALL allows in an hour.

A browser that has logged in before carries a cookie that says so, and has a counter of its own:
strangers who guess at a name, or at all names, cannot lock its administrator out
(https://owasp.org/www-community/Slow_Down_Online_Guessing_Attacks_with_Device_Cookies).
"""

import logging
import math
import secrets
import threading
import time
import unicodedata
from dataclasses import dataclass

import redis
from django.core import signing
from django.http import HttpRequest, HttpResponse

from spotify_auth import redis_client
from spotify_auth.client_address import address_group, client_address
from spotify_auth.conf import settings

logger = logging.getLogger(__name__)

DEVICE_COOKIE = "password_device"
DEVICE_SECONDS = 180 * 24 * 3600
WITHOUT_REDIS_SECONDS = 6.0
"""While Redis is away each process tries one password in this time, whosever it is."""

_SALT = "accounts.password_tries"


@dataclass(frozen=True, slots=True)
class Limit:
    """`tries` in `seconds`, counted from the first try."""

    tries: int
    seconds: int


OF_NAME_AND_ADDRESS = Limit(5, 15 * 60)
OF_ADDRESS = Limit(20, 15 * 60)
OF_NAME = Limit(30, 3600)
OF_ALL = Limit(60, 60)
OF_DEVICE = Limit(10, 15 * 60)

# Nothing is counted where any counter is full, so that waiting helps. The longest wait, or 0.
_TAKE = """
local wait = 0
for i, key in ipairs(KEYS) do
    if tonumber(redis.call('GET', key) or '0') >= tonumber(ARGV[2 * i - 1]) then
        wait = math.max(wait, redis.call('PTTL', key), 1)
    end
end
if wait > 0 then return wait end
for i, key in ipairs(KEYS) do
    if redis.call('INCR', key) == 1 then redis.call('PEXPIRE', key, ARGV[2 * i]) end
end
return 0
"""
# The user's own counter starts again at zero; the others forget this one try.
_GIVE_BACK = """
redis.call('DEL', KEYS[1])
for i = 2, #KEYS do
    if tonumber(redis.call('GET', KEYS[i]) or '0') > 0 then redis.call('DECR', KEYS[i]) end
end
"""


class LockedOut(Exception):
    """Too many passwords were tried. `seconds` is how long to wait, a whole number."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"wait for {seconds:.0f} s")
        self.seconds = max(1, math.ceil(seconds))


class _Alone:
    """The limit of this process, for all names together, while Redis is away."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free_at = 0.0

    def take(self) -> float:
        """Seconds to wait; 0: go."""
        now = time.monotonic()
        with self._lock:
            if now < self._free_at:
                return self._free_at - now
            self._free_at = now + WITHOUT_REDIS_SECONDS
            return 0.0


_alone = _Alone()


class Try:
    """One password for one name, from one browser. Names and addresses go to Redis as digests."""

    def __init__(self, request: HttpRequest, username: str) -> None:
        self._request = request
        # Spellings that look alike would each have a counter: fewer names, never more.
        self._name = _digest(unicodedata.normalize("NFKC", username).casefold())
        self._device = self._known_device()

    def begin(self) -> None:
        """Take the try. Raises LockedOut, and then nothing may be checked."""
        counters = self._counters()
        arguments = [n for limit in counters.values() for n in (limit.tries, limit.seconds * 1000)]
        try:
            wait = redis_client.run(_TAKE, keys=list(counters), args=arguments) / 1000
        except redis.RedisError as error:
            logger.warning("password_tries_unknown reason=%s", type(error).__name__)
            wait = _alone.take()
        if wait:
            raise LockedOut(wait)

    def succeeded(self) -> None:
        """The password was right: it does not count."""
        try:
            redis_client.run(_GIVE_BACK, keys=list(self._counters()))
        except redis.RedisError as error:
            logger.warning("password_tries_unknown reason=%s", type(error).__name__)

    def remember_device(self, response: HttpResponse) -> None:
        """Let this browser be known from now on, for this name."""
        response.set_cookie(
            DEVICE_COOKIE,
            signing.dumps([self._name, self._device or secrets.token_urlsafe(12)], salt=_SALT),
            max_age=DEVICE_SECONDS,
            secure=settings.HTTPS,
            httponly=True,
            samesite="Lax",
        )

    def _counters(self) -> dict[str, Limit]:
        """The counters of this try; the first is the user's own."""
        if self._device:
            return {f"accounts:tries:device:{self._device}": OF_DEVICE}
        address = _digest(address_group(client_address(self._request)))
        return {
            f"accounts:tries:pair:{self._name}:{address}": OF_NAME_AND_ADDRESS,
            f"accounts:tries:address:{address}": OF_ADDRESS,
            f"accounts:tries:name:{self._name}": OF_NAME,
            "accounts:tries:all": OF_ALL,
        }

    def _known_device(self) -> str:
        """The browser's number, if it has logged in under this name; blank otherwise."""
        cookie = self._request.COOKIES.get(DEVICE_COOKIE, "")
        try:
            name, device = signing.loads(cookie, salt=_SALT, max_age=DEVICE_SECONDS)
        except (signing.BadSignature, ValueError):
            return ""
        return str(device) if name == self._name else ""


def _digest(text: str) -> str:
    return redis_client.keyed_digest(_SALT, text)
