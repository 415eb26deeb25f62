"""Run the Procfile's processes under honcho, beside the servers that they need."""

import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import honcho.manager
import honcho.printer
import honcho.process
import requests

from dev.process import ROOT, die_with_parent, exit_code
from dev.server import Server

# Longer than the longest exchange: stopping never cuts one.
honcho.manager.KILL_WAIT = 30


def supervise(
    procfile: Mapping[str, str],
    *,
    env: Mapping[str, str],
    servers: Sequence[Server],
    note: str = "",
) -> int:
    """Run the processes until Ctrl-C, or until one of them or of the servers ends.

    `note` is lines that are shown with the address, when the site answers.
    All processes have ended when it returns, and the servers still run. 0 after Ctrl-C,
    SIGTERM or a closed terminal, otherwise the code of the process that ended first.
    """
    manager = _Manager(servers, address=address(env), note=note)
    for name, command in procfile.items():
        manager.add_process(name, f"exec {own_python(command)}", env=dict(env), cwd=str(ROOT))
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as it is under nohup
        signal.signal(signal.SIGHUP, lambda *_: _leave_the_terminal())
    manager.loop()
    return manager.result()


def own_python(command: str) -> str:
    """A Procfile line, run by this Python: its scripts break in a path with a space."""
    python = shlex.quote(sys.executable)
    program, _, rest = command.partition(" ")
    return f"{python} {rest}" if program == "python" else f"{python} -m {program} {rest}"


class _Manager(honcho.manager.Manager):  # type: ignore[misc]  # honcho is untyped
    """honcho's manager, which also shows the servers' logs and stops when a server ends."""

    def __init__(self, servers: Sequence[Server], *, address: str, note: str) -> None:
        super().__init__(honcho.printer.Printer(_Terminal()))
        self._process_ctor = _LeashedProcess
        self._servers = servers
        self._address = address
        self._note = note
        self._ended_server: Server | None = None
        self._finished = threading.Event()
        self._printer.width = max(self._printer.width, *(len(each.name) for each in servers), 0)

    def loop(self) -> None:
        super().loop()
        self._finished.set()

    def result(self) -> int:
        """The exit code of the whole run."""
        if self._ended_server:
            return exit_code(self._ended_server.returncode or 1)
        stopped_by_hand = self.returncode in {130, 143}
        return 0 if stopped_by_hand else exit_code(self.returncode or 1)

    def terminate(self) -> None:
        if self._all_started():
            super().terminate()
        else:  # honcho does not know every pid yet: try again when it does
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()

    def _start(self) -> None:
        super()._start()
        # After honcho's forks, which threads would endanger.
        for server in self._servers:
            threading.Thread(
                target=self._follow, args=(server, next(self._colours)), daemon=True
            ).start()
        threading.Thread(target=self._announce, daemon=True).start()

    def _follow(self, server: Server, colour: str) -> None:
        with server.log.open(errors="replace") as log:
            log.seek(0, os.SEEK_END)
            while not self._finished.is_set():
                ended = server.returncode is not None
                for line in log:
                    self._say(server.name, colour, line)
                if ended:
                    self._ended_server = server
                    self._say(server.name, colour, f"ended (rc={server.returncode})\n")
                    os.kill(os.getpid(), signal.SIGTERM)
                    return
                time.sleep(0.2)

    def _announce(self) -> None:
        with requests.Session() as session:
            session.trust_env = False  # no proxy for a port of this machine
            while not self._finished.wait(0.2):
                try:
                    session.get(self._address, timeout=2, allow_redirects=False)
                except requests.RequestException:
                    continue
                # Not through honcho, which would put a prefix before the address.
                note = f"{self._note}\n" if self._note else ""
                _Terminal().write(
                    f"\nSpotify Token Keeper is running: open {self._address} "
                    f"(Ctrl-C stops everything)\n{note}\n"
                )
                return

    def _say(self, name: str, colour: str, line: str) -> None:
        now = self._clock.now()
        self.events.put(honcho.printer.Message("line", line, now, name, colour))


class _LeashedProcess(honcho.process.Process):  # type: ignore[misc]  # honcho is untyped
    """A process that ends with the runner, even when the runner is killed."""

    def run(self, *args: Any, **kwargs: Any) -> None:
        die_with_parent(signal.SIGKILL)
        self._child_ctor = partial(
            honcho.process.Popen, preexec_fn=lambda: die_with_parent(signal.SIGTERM)
        )
        super().run(*args, **kwargs)


class _Terminal:
    """Standard output that stops the run when its reader has gone.

    Unbuffered: honcho also prints from its signal handlers, in the middle of a line.
    """

    def write(self, text: str) -> None:
        """Write all of it."""
        data = text.encode()
        try:
            while data:
                data = data[os.write(sys.stdout.fileno(), data) :]
        except OSError:
            _leave_the_terminal()

    def flush(self) -> None:
        """Do nothing: `write` is unbuffered."""

    def isatty(self) -> bool:
        """Whether honcho may use colours."""
        return sys.stdout.isatty()


def _leave_the_terminal() -> None:
    """Treat a closed terminal as Ctrl-C, and write to it no more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.dup2(nowhere, sys.stderr.fileno())
    os.close(nowhere)
    os.kill(os.getpid(), signal.SIGTERM)


def address(env: Mapping[str, str]) -> str:
    """Where a browser on this machine finds the site."""
    host = "127.0.0.1" if env["HOST"] in {"0.0.0.0", "::"} else env["HOST"]  # noqa: S104
    return f"http://{host}:{env['PORT']}"
