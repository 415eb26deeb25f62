"""A real Sentry client with its defaults, whose events stay here."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport


class Kept(Transport):
    """Keeps what would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.envelopes: list[str] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        """Keep an envelope as it would go over the wire."""
        self.envelopes.append(envelope.serialize().decode(errors="replace"))

    @property
    def text(self) -> str:
        """All that would have been sent."""
        return "\n".join(self.envelopes)


@contextmanager
def reporting(**options: Any) -> Iterator[Kept]:
    """Report to Sentry meanwhile, with its defaults but for `options`."""
    kept = Kept()
    before = sentry_sdk.get_global_scope().client
    sentry_sdk.init(dsn="http://key@127.0.0.1:9/1", transport=kept, **options)
    try:
        yield kept
    finally:
        sentry_sdk.get_client().close(timeout=0)
        sentry_sdk.get_global_scope().set_client(before)


class SentryServer:
    """A Sentry on loopback, for processes of their own; use it with `with`."""

    def __init__(self) -> None:
        received: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                received.append(body.decode(errors="replace"))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._received = received
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.dsn = f"http://key@127.0.0.1:{self._server.server_port}/1"

    @property
    def text(self) -> str:
        """All that was sent."""
        return "\n".join(self._received)

    def __enter__(self) -> "SentryServer":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
