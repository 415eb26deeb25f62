"""Other hosts of the web, for tests with a browser: strangers, siblings, and a proxy with TLS.

All of them are this machine: Chromium is told so by HOST_RULES.
"""

import http.client
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SITE, SIBLING, STRANGER = "keeper.example", "anything.keeper.example", "evil.test"
HOST_RULES = ",".join(f"MAP {name} 127.0.0.1" for name in (SITE, SIBLING, STRANGER))

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class Handler(BaseHTTPRequestHandler):
    """Answers nobody by itself, and writes no line."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serving(handler: type[Handler], tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve on a free port, and give it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if tls:
        # The handshake is the handler's: a connection that says nothing holds nobody up.
        server.socket = tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@contextmanager
def page_of_another_host(body: str, *, cookies: tuple[str, ...] = ()) -> Iterator[int]:
    """A plain http host whose every address is this page, with these Set-Cookie lines; its port."""

    class Page(Handler):
        def do_GET(self) -> None:
            content = body.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            for line in cookies:
                self.send_header("Set-Cookie", line)
            self.end_headers()
            self.wfile.write(content)

    with serving(Page) as port:
        yield port


class TlsProxy:
    """What stands before the web server: it ends TLS, and says so (`X-Forwarded-Proto`)."""

    def __init__(self, directory: Path) -> None:
        self.backend = 0
        """The port of the web server, once it is known."""
        self._certificate = directory / "certificate.pem"
        _make_certificate(self._certificate)

    @contextmanager
    def listening(self) -> Iterator[int]:
        """Serve until the end; the port."""
        proxy = self

        class Forward(Handler):
            def forward(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(size) if size else None
                headers = {**_end_to_end(self.headers), "X-Forwarded-Proto": "https"}
                if body:
                    headers["Content-Length"] = str(size)
                backend = http.client.HTTPConnection("127.0.0.1", proxy.backend, timeout=30)
                with closing(backend):
                    backend.request(self.command, self.path, body, headers)
                    answer = backend.getresponse()
                    content = answer.read()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in _HOP_BY_HOP:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = forward  # noqa: N815  (as the base class wants them)

        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(self._certificate)
        with serving(Forward, tls) as port:
            yield port


def _end_to_end(headers: Message) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}


def _make_certificate(path: Path) -> None:
    """A certificate that nobody has signed, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SITE)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(SITE)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(certificate.public_bytes(pem) + secret)
