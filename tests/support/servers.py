"""Servers on loopback that answer as the sandbox does not: over TLS, or with odd bytes."""

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

WHOLE = b'{"access_token": "a", "token_type": "Bearer", "expires_in": 3600, "refresh_token": "r"}'

Chunks = Callable[[], Iterator[bytes]]


class LoopbackServer(ThreadingHTTPServer):
    """Gives every request one answer, and counts what it was asked and could send."""

    daemon_threads = True

    def __init__(
        self,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        body: Chunks = lambda: iter([WHOLE]),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = status, dict(headers or {}), body
        self.requests = 0
        self.sent_bytes = 0
        self.scheme = "https" if tls else "http"
        if tls:
            # The handshake is the handler's, so that one that fails does not end the server.
            self.socket = tls.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: Any) -> None:
        """Clients that leave are what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: LoopbackServer

    def do_POST(self) -> None:
        self.server.requests += 1
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, headers, body = self.server.answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        for chunk in body():
            self.wfile.write(chunk)
            self.server.sent_bytes += len(chunk)

    do_GET = do_POST  # noqa: N815  (the name that http.server looks for)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(**answer: Any) -> Iterator[LoopbackServer]:
    """A running server; see LoopbackServer."""
    with LoopbackServer(**answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def speaking(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port of a server that is not HTTP: `talk` has each connection, which then ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, suppress(OSError):
                        talk(connection)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextmanager
def relaying(to_port: int, *, tls: ssl.SSLContext) -> Iterator[int]:
    """The port of a TLS proxy, as hosts put one before a Redis, to a port of this machine."""

    def talk(connection: socket.socket) -> None:
        with (
            tls.wrap_socket(connection.dup(), server_side=True) as inside,
            socket.create_connection(("127.0.0.1", to_port)) as outside,
        ):
            back = threading.Thread(target=_copy, args=(outside, inside))
            back.start()
            _copy(inside, outside)
            back.join()

    def each_by_itself(connection: socket.socket) -> None:
        thread = threading.Thread(target=_quietly, args=(talk, connection.dup()), daemon=True)
        thread.start()

    with speaking(each_by_itself) as port:
        yield port


def _quietly(talk: Callable[[socket.socket], None], connection: socket.socket) -> None:
    with connection, suppress(OSError):
        talk(connection)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("An authority of the tests")
        basics = x509.BasicConstraints(ca=True, path_length=None)
        certificate = _builder(self._name, self._name, self._key).add_extension(
            basics, critical=True
        )
        self.file = home / "authority.pem"
        self.file.write_bytes(_pem(certificate.sign(self._key, hashes.SHA256())))

    def server_context(self, **certificate: Any) -> ssl.SSLContext:
        """What a server shows: a certificate as `certify` makes it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certify(**certificate))
        return context

    def certify(
        self, *, host: str = "127.0.0.1", days_left: int = 1, self_signed: bool = False
    ) -> Path:
        """A file with a key and a certificate for this host, a name or an address."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(host)
        alternative: x509.GeneralName
        try:
            alternative = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            alternative = x509.DNSName(host)
        certificate = _builder(
            subject, subject if self_signed else self._name, key, days_left=days_left
        ).add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        signed = certificate.sign(key if self_signed else self._key, hashes.SHA256())
        file = self._home / "server.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + _pem(signed)
        )
        return file


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, *, days_left: int = 1
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=10))
        .not_valid_after(now + datetime.timedelta(days=days_left))
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
