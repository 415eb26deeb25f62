"""gunicorn's processes with waitress's connections: a slow visitor holds no thread.

gunicorn's own threads read a request, and write its answer, themselves. So a few connections that
owe the rest of a request, or do not read what they asked for, stop a whole site. waitress reads and
writes for all connections in one loop, and gives a thread to a request that is there as a whole.
gunicorn stays what it is good at: it listens, starts and replaces the processes, and ends them.
"""

import logging
import os
import resource
import time
from typing import Any

from gunicorn.workers.base import Worker
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer, create_server
from waitress.task import ErrorTask, WSGITask

from config import log_context

logger = logging.getLogger("gunicorn.access")

IDLE_SECONDS = 20
"""A connection on which nothing moves is closed."""
TRANSFER_SECONDS = 60.0
"""How long a request may take to arrive, and an answer to be taken, even if it trickles."""
MOST_CONNECTIONS = 1000
"""For each process. Each that waits costs some KB, and some microseconds of each round."""
OTHER_FILES = 256
"""What a process opens besides: PostgreSQL, Redis, calls to Spotify."""
HEADER_BYTES = 32 * 1024
BODY_BYTES = 256 * 1024
"""The forms of this site, the admin's included, take some KB."""
BODY_BYTES_IN_MEMORY = 16 * 1024
"""A body beyond it goes to a temporary file: visitors cannot fill the memory."""
LOOP_SECONDS = 1.0


class WebWorker(Worker):  # type: ignore[misc]  # gunicorn has no types
    """One process. `threads` of gunicorn's settings is how many requests it answers at once."""

    def run(self) -> None:
        """Serve until SIGTERM; then finish what has arrived."""
        # The queue is how this works, and not worth a line at each request in it.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        channels: dict[int, Any] = {}
        server = create_server(
            self.wsgi,
            map=channels,
            sockets=[listener.sock for listener in self.sockets],
            threads=self.cfg.threads,
            connection_limit=_most_connections(),
            channel_timeout=IDLE_SECONDS,
            cleanup_interval=1,
            # A head that is too large is read as a whole, so that its sender sees the answer.
            recv_bytes=2 * HEADER_BYTES,
            max_request_header_size=HEADER_BYTES,
            max_request_body_size=BODY_BYTES,
            inbuf_overflow=BODY_BYTES_IN_MEMORY,
            # Whether a proxy is believed is Django's business: TRUST_X_FORWARDED_PROTO.
            clear_untrusted_proxy_headers=False,
            # A visitor who leaves is nothing to be told of.
            log_socket_errors=False,
            ident=None,
        )
        listeners = [each for each in channels.values() if isinstance(each, BaseWSGIServer)]
        for listener in listeners:
            listener.channel_class = _Channel
        watch = _Watch()
        while self.alive and self.ppid == os.getppid():
            self.notify()
            wasyncore.loop(timeout=LOOP_SECONDS, use_poll=True, map=channels, count=1)
            watch.close_slow(channels)
        for listener in listeners:
            listener.accepting = False
        self._finish(channels)
        server.task_dispatcher.shutdown(timeout=1)

    def _finish(self, channels: dict[int, Any]) -> None:
        """Answer the requests that are there as a whole, within gunicorn's graceful_timeout."""
        give_up = time.monotonic() + self.cfg.graceful_timeout
        while time.monotonic() < give_up and any(map(_is_busy, list(channels.values()))):
            self.notify()
            wasyncore.loop(timeout=0.05, use_poll=True, map=channels, count=1)


class _Watch:
    """Closes connections whose transfer goes on for too long."""

    def __init__(self) -> None:
        self._since: dict[int, tuple[Any, float]] = {}
        self._look_at = 0.0

    def close_slow(self, channels: dict[int, Any]) -> None:
        """Look at all connections, once a second."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOP_SECONDS
        before, self._since = self._since, {}
        for number, channel in channels.items():
            if not _is_transferring(channel):
                continue
            transfer = channel.request or channel
            known, since = before.get(number, (None, now))
            if known is not transfer:
                since = now
            self._since[number] = transfer, since
            if now - since > TRANSFER_SECONDS:
                channel.will_close = True


class _LogsAccess:
    """One line for each answer, without the query: that of the login's callback has the code."""

    def service(self: Any) -> None:
        begun = time.monotonic()
        log_context.end()  # what no request of Django's becomes has no id
        try:
            super().service()  # type: ignore[misc]  # of waitress's task
        finally:
            address = getattr(self.request, "request_uri", "").partition("?")[0]
            logger.info(
                "request method=%s path=%s status=%s bytes=%s ms=%.0f address=%s",
                _plain(getattr(self.request, "command", "")),
                f'"{_plain(address.partition("#")[0])}"',
                int(self.status.partition(" ")[0]) if self.wrote_header else None,
                self.content_bytes_written,
                (time.monotonic() - begun) * 1000,
                self.channel.addr[0],
            )


class _Task(_LogsAccess, WSGITask):  # type: ignore[misc]  # waitress has no types
    pass


class _ErrorTask(_LogsAccess, ErrorTask):  # type: ignore[misc]
    pass


class _Channel(HTTPChannel):  # type: ignore[misc]
    task_class = _Task
    error_task_class = _ErrorTask


def _is_busy(channel: Any) -> bool:
    """Whether this is a connection with a request in hand, or an answer that is not sent yet."""
    return isinstance(channel, HTTPChannel) and bool(channel.requests or channel.total_outbufs_len)


def _is_transferring(channel: Any) -> bool:
    """Whether the visitor sends or takes something, and no thread of ours is at work for them."""
    if not isinstance(channel, HTTPChannel) or channel.requests:
        return False
    return channel.request is not None or bool(channel.total_outbufs_len)


def _plain(text: str) -> str:
    # Control characters too: they could break a line, or write to the terminal that shows it.
    return text.encode("unicode_escape").decode("ascii").replace('"', "%22").replace(" ", "%20")


def _most_connections() -> int:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(min(MOST_CONNECTIONS, files - OTHER_FILES), 64)
