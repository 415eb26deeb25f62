"""HTTP sessions whose every answer must be complete within a total time limit, and a size.

For the Web API, and webhooks; the token endpoint has its own (`accounts_service.transport`).
A GET that a reused connection swallowed is sent once more.
"""

import threading
import time
from datetime import timedelta

import requests

from spotify_auth.conf import settings
from spotify_auth.http_connections import DeadlineAdapter, this_call

LONGEST_CONNECT_SECONDS = 3.0
LONGEST_READ_SECONDS = 10.0

LARGEST_ANSWER_BYTES = 2 * 1024 * 1024
"""Of a body, unpacked. The largest answers of the Web API have some hundred KB."""
_READ_BYTES = 64 * 1024

_SAFE_METHODS = {"GET", "HEAD"}

_local = threading.local()


class AnswerTooLarge(requests.RequestException):
    """The body is larger than LARGEST_ANSWER_BYTES. It was not read further."""


class BoundedSession(requests.Session):
    """A session whose calls neither send nor read anything `total_seconds` after their start.

    Connecting takes a quarter of that for each address of the host, and the time of the
    look-up, which Python cannot bound; if that was too long, nothing is sent.

    It keeps no cookie, follows no redirect and reads nothing from the environment: the search
    for proxies and .netrc costs a quarter of a call's CPU, and a stray .netrc would replace
    the Authorization header. OUTBOUND_PROXY_URL names a proxy.

    A GET or HEAD is repeated once, over a new connection and within the same deadline, if a
    reused connection failed before an answer. Nothing else is: a POST may have been obeyed.
    """

    def __init__(self, *, total_seconds: float, proxy: str) -> None:
        super().__init__()
        self.trust_env = False
        self.mount("http://", DeadlineAdapter(total_seconds))
        self.mount("https://", DeadlineAdapter(total_seconds))
        if proxy:
            self.proxies = {"http": proxy, "https": proxy}
        self._total_seconds = total_seconds

    def send(  # type: ignore[override]  # takes less
        self,
        request: requests.PreparedRequest,
        *,
        deadline: float | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """Start the clock, and send over the adapter.

        All that requests would do besides is to keep cookies, follow redirects and call
        hooks. Calls of several users share a connection: nothing may stick to it.

        `deadline`, by `time.monotonic()`, is for a call that has begun before this one.
        """
        begun = time.monotonic()
        this_call.deadline = begun + self._total_seconds if deadline is None else deadline
        this_call.reused = False
        try:
            response = self._send_once(request, stream=stream)
        except requests.ConnectionError:
            if not this_call.reused or request.method not in _SAFE_METHODS or request.body:
                raise
            # The pool is given an empty place for the failed connection, and fills it first.
            response = self._send_once(request, stream=stream)
        response.elapsed = timedelta(seconds=time.monotonic() - begun)
        if not stream:
            read_body(response)
        return response

    def _send_once(self, request: requests.PreparedRequest, *, stream: bool) -> requests.Response:
        left = this_call.deadline - time.monotonic()
        if left <= 0:
            raise requests.ConnectTimeout("the total deadline has passed", request=request)
        return self.get_adapter(request.url or "").send(
            request,
            stream=stream,
            # A quarter at the most, and twice at the worst (TCP, then TLS): at least half
            # of the time is for the answer.
            timeout=(min(LONGEST_CONNECT_SECONDS, left / 4), min(LONGEST_READ_SECONDS, left)),
            verify=True if self.verify is None else self.verify,
            cert=self.cert,
            proxies=self.proxies,
        )


def read_body(response: requests.Response) -> None:
    """Read the body within the deadline, and unpack no more than LARGEST_ANSWER_BYTES of it.

    Raises what requests raises, and AnswerTooLarge. An error's status counts also without its
    words: one whose body is too large has none.
    """
    parts, size = [], 0
    for part in response.iter_content(_READ_BYTES):
        parts.append(part)
        size += len(part)
        if size > LARGEST_ANSWER_BYTES:
            response.close()
            if response.status_code < 400:
                raise AnswerTooLarge("the answer is too large", response=response)
            parts.clear()
            break
    response._content = b"".join(parts)


def session_of_this_thread(*, total_seconds: float) -> BoundedSession:
    """This thread's session with a total time limit for each call, in seconds.

    One a thread, so that no pool's lock is shared.
    """
    key = (total_seconds, settings.OUTBOUND_PROXY_URL)
    sessions: dict[tuple[float, str], BoundedSession] = _local.__dict__.setdefault("sessions", {})
    if key not in sessions:
        sessions[key] = BoundedSession(total_seconds=total_seconds, proxy=key[1])
    return sessions[key]
