"""Directories, ports and child processes. Imports only the standard library."""

import ctypes
import hashlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCAL = Path(os.environ.get("LOCAL_DIRECTORY") or ROOT / ".local").resolve()
"""Where `make run` keeps its data."""
_CLONE = hashlib.sha256(str(LOCAL).encode()).hexdigest()[:12]
OUTSIDE = Path("/var/tmp", f"spotify-token-keeper-{_CLONE}")  # noqa: S108  (see make_directory)
"""Used instead of LOCAL where PostgreSQL's user cannot enter root's clone."""

_PR_SET_PDEATHSIG = 1


def die_with_parent(number: signal.Signals) -> None:
    """Let Linux send this process a signal when its parent ends, however it ends.

    Called between fork and exec. On other systems it does nothing.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


def port_is_free(port: int) -> bool:
    """Whether nothing listens on this loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A loopback port that nothing listens on.

    None of those that a system gives to connections, and to servers that take any port: such a one
    could be somebody else's before the server that it is meant for has started.
    """
    while not port_is_free(port := 20_000 + secrets.randbelow(12_000)):
        pass
    return port


def interrupt_on(*numbers: signal.Signals) -> None:
    """Let these signals raise KeyboardInterrupt, as Ctrl-C does, even if they were ignored."""
    for number in numbers:
        signal.signal(number, signal.default_int_handler)


def exit_code(returncode: int) -> int:
    """A process's return code as a shell reports it: 128 plus the signal that ended it."""
    return 128 - returncode if returncode < 0 else returncode


def run_step(command: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run a step to its end. On an interrupt, end the step and all that it started first.

    The step has its own session, so that Ctrl-C reaches this process only and the step prints
    no traceback.
    """
    data = options.pop("input", None)
    with subprocess.Popen(
        command,
        start_new_session=True,
        preexec_fn=lambda: die_with_parent(signal.SIGTERM),
        stdin=subprocess.PIPE if data is not None else subprocess.DEVNULL,
        **options,
    ) as process:
        try:
            output, errors = process.communicate(data)
        except BaseException:
            _end_group(process, seconds=5)
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def run_in_front(command: Sequence[str], *, env: Mapping[str, str]) -> int:
    """Run a program that cleans up after Ctrl-C, and wait until it has ended; its exit code.

    At a terminal Ctrl-C reaches the program directly, and a second signal would interrupt its
    cleaning up. Without a terminal, and for other signals, this process forwards it.
    """
    at_terminal = os.isatty(0)
    process = subprocess.Popen(
        command,
        env=env,
        cwd=ROOT,
        start_new_session=not at_terminal,
        preexec_fn=lambda: die_with_parent(signal.SIGINT),
    )

    def forward(number: int, frame: object) -> None:
        if number != signal.SIGINT or not at_terminal:
            process.send_signal(signal.SIGINT)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, forward)
    return exit_code(process.wait())


def stop(process: subprocess.Popen[bytes], number: signal.Signals, *, seconds: float) -> None:
    """Send a signal and wait; kill the process if it has not ended in time."""
    if process.poll() is not None:
        return
    process.send_signal(number)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end_group(leader: subprocess.Popen[bytes], *, seconds: float) -> None:
    """End a process and all that it started, by SIGTERM and then by SIGKILL."""
    give_up = time.monotonic() + seconds
    with suppress(ProcessLookupError):
        os.killpg(leader.pid, signal.SIGTERM)
        while time.monotonic() < give_up:
            leader.poll()
            os.killpg(leader.pid, 0)  # raises when none is left
            time.sleep(0.02)
        os.killpg(leader.pid, signal.SIGKILL)


def make_local() -> None:
    """Make the directory of local data. Other users may pass through it."""
    try:
        LOCAL.mkdir(parents=True)
    except FileExistsError:
        return
    LOCAL.chmod(0o755)


def make_directory(path: Path, *, owner: int, mode: int = 0o700) -> None:
    """Make a directory that belongs to `owner`, or check an existing one.

    Raises SystemExit if the path is anything else: in a directory that all users may write,
    another user could have put a link.
    """
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        sys.exit(f"{path} is not a directory of this clone: move it away and start again.")
    try:
        # Made, and not yet given to `owner`: an earlier run was killed in between.
        if os.fstat(descriptor).st_uid not in {owner, os.geteuid()}:
            sys.exit(f"{path} is not a directory of this clone: move it away and start again.")
        os.fchown(descriptor, owner, -1)
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)
