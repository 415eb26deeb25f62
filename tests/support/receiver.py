"""A receiver of webhooks on loopback that verifies, and that fails as it is told to."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook

OK = "ok"
HANG = "hang"
"""No answer until `release`."""
GARBAGE = b"\x00\xff this is no HTTP\r\n\r\n"

Behaviour = int | str | bytes
"""A status, that word, or a whole answer as it is sent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Received:
    """One request that came."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """What receivers tell duplicates by."""
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> dict[str, Any]:
        """Its content. Raises WebhookVerificationError, as the convention's own library has it."""
        found: dict[str, Any] = Webhook(secret).verify(self.body, dict(self.headers))
        return found


class Receiver(ThreadingHTTPServer):
    """Behaves as `next` says, one behaviour for each request, and then well."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[Received] = []
        self.next: list[Behaviour] = []
        self.says = b"thanks"
        self.location = ""
        self._let_go = threading.Event()

    @property
    def url(self) -> str:
        """Where webhooks are sent to."""
        return f"http://127.0.0.1:{self.server_port}/hooks"

    @property
    def ids(self) -> list[str]:
        """Of all that came."""
        return [each.id for each in self.received]

    def release(self) -> None:
        """Answer what hangs."""
        self._let_go.set()

    def handle_error(self, *_: Any) -> None:
        """Senders that leave are what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        receiver = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        receiver.received.append(Received(headers=headers, body=body))
        behaviour = receiver.next.pop(0) if receiver.next else 204
        if behaviour == HANG:
            receiver._let_go.wait(60)
            behaviour = 204
        if isinstance(behaviour, bytes):
            self.wfile.write(behaviour)
            return
        self.send_response(int(behaviour))
        if receiver.location:
            self.send_header("Location", receiver.location)
        self.end_headers()
        self.wfile.write(receiver.says)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A running receiver."""
    with Receiver() as receiver:
        thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.release()
            receiver.shutdown()
            thread.join()
