"""A proxy before PostgreSQL that can keep back the answer to one COMMIT.

So a test can stand where no client can see: the transaction is durable, and the one who
asked for it does not know.
"""

import re
import socket
import struct
import threading
from contextlib import suppress

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close() sends RST


class CommitProxy:
    """Passes everything on to a server on loopback, except the answers it is asked to hold."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._wanted: set[re.Pattern[bytes]] = set()
        self._held: list[threading.Event] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def hold_the_commit_after(self, statement: str) -> None:
        """Hold the answer to the COMMIT that follows a statement in which this pattern is found."""
        self._wanted.add(re.compile(statement.encode()))

    @property
    def held(self) -> int:
        """How many answers are being held: their COMMITs have come through."""
        return len(self._held)

    def cut(self) -> None:
        """Reset the connections whose answers are held."""
        while self._held:
            self._held.pop().set()

    def close(self) -> None:
        """Take no more connections; those that are open end with their peers."""
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            _Link(self, client).start(self._server_port)


class _Link:
    """One connection through the proxy: a thread for each direction."""

    def __init__(self, proxy: CommitProxy, client: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._holding = False

    def start(self, server_port: int) -> None:
        try:
            self._server = socket.create_connection(("127.0.0.1", server_port))
        except OSError:
            self._client.close()
            return
        for pump in (self._ask, self._answer):
            threading.Thread(target=pump, daemon=True).start()

    def _ask(self) -> None:
        wanted: re.Pattern[bytes] | None = None
        with suppress(OSError):
            while data := self._client.recv(65536):
                wanted = wanted or next((w for w in self._proxy._wanted if w.search(data)), None)
                if wanted and b"COMMIT" in data:
                    self._proxy._wanted.discard(wanted)
                    self._holding, wanted = True, None
                self._server.sendall(data)
        self._end()

    def _answer(self) -> None:
        with suppress(OSError):
            while data := self._server.recv(65536):
                if self._holding:
                    self._hold()
                    break
                self._client.sendall(data)
        self._end()

    def _hold(self) -> None:
        go_on = threading.Event()
        self._proxy._held.append(go_on)
        go_on.wait()
        self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)

    def _end(self) -> None:
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
