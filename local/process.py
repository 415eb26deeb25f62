"""Small things about processes and ports."""

import ctypes
import hashlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCAL = Path(os.environ.get("LOCAL_DIRECTORY") or ROOT / ".local").resolve()
"""Where `make run` keeps its data."""
CLONE = hashlib.sha256(str(ROOT).encode()).hexdigest()[:12]
"""A short name for this clone, for what must live outside it."""

_PR_SET_PDEATHSIG = 1


def die_with_parent(number: signal.Signals) -> None:
    """Let Linux send this process a signal when its parent ends, however it ends.

    Called between fork and exec. Elsewhere than on Linux it does nothing.
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
    """A loopback port that nothing listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def stop(process: subprocess.Popen[bytes], number: signal.Signals, *, seconds: float) -> None:
    """Send a signal and wait; kill what has not ended in time."""
    if process.poll() is not None:
        return
    process.send_signal(number)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def make_private_directory(path: Path, *, owner: int) -> None:
    """A directory of mode 0700 that belongs to `owner`, made or found.

    Raises SystemExit when something else stands there: in a directory that all may
    write, a stranger could have put a link.
    """
    try:
        path.mkdir(mode=0o700, parents=True)
        os.chown(path, owner, -1)
    except FileExistsError:
        status = path.lstat()
        if path.is_symlink() or not path.is_dir() or status.st_uid != owner:
            sys.exit(f"{path} is not a directory of ours: move it away and start again.")
    path.chmod(0o700)
