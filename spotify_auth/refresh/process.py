"""What the lanes of one process share: where they look for due tokens, and when they stop."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from spotify_auth.refresh.own_pace import OwnPace

FULL_SCAN_SECONDS = 1.0
"""How often this process scans the due index from its start, instead of from the token that
it claimed last."""
DISTRUST_SECONDS = 60.0
"""For how long no function is called that was missed."""


class DueCursor:
    """Where in the due index the claims of this process begin.

    While any transaction is open, for example that of an exchange that hangs, PostgreSQL
    keeps every row version that was replaced since. A claim from the start of the index
    looks at all of them. So a claim begins at the token that this process claimed last, and
    once a second at the start, for tokens that were nudged or given back.
    """

    def __init__(self) -> None:
        self._due_at: str | None = None
        self._scan_at = 0.0

    def position(self) -> str | None:
        """The due time to begin at, as PostgreSQL writes it; None: at the start."""
        return self._due_at if time.monotonic() < self._scan_at else None

    def move_to(self, due_at: str, *, scanned: bool) -> None:
        """A token with this due time was claimed; `scanned`: from the start of the index."""
        self._due_at = due_at
        if scanned:
            self._scan_at = time.monotonic() + FULL_SCAN_SECONDS

    def rewind(self) -> None:
        """Begin the next claim at the start: a claimed token was given back."""
        self._scan_at = 0.0


class OncePerMinute:
    """Lets a report through once a minute."""

    def __init__(self) -> None:
        self._next = 0.0

    def may_report(self) -> bool:
        """Whether a minute has passed since this was last answered with yes."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + 60
        return True


class Functions:
    """Whether PostgreSQL has the functions that keep plans (`plans`)."""

    def __init__(self) -> None:
        self._asked_again = 0.0

    def usable(self) -> bool:
        """Until one is missed; and then again, in case `migrate` has made them meanwhile."""
        return time.monotonic() >= self._asked_again

    def distrust(self) -> None:
        """One was missed."""
        self._asked_again = time.monotonic() + DISTRUST_SECONDS


class Running:
    """How many lanes of this process run at the moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Count a lane for as long as it runs."""
        self._add(1)
        try:
            yield
        finally:
            self._add(-1)

    def _add(self, number: int) -> None:
        with self._lock:
            self.count += number


class Process:
    """The state of this worker process. Threads share it; a torn update costs one claim."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything, as a new process would."""
        self.due = DueCursor()
        self.mass_refusal = OncePerMinute()
        self.running = Running()
        self.functions = Functions()
        self.own_pace = OwnPace()
        self.stopping = threading.Event()
        """Set when this process has been told to stop: lanes finish the exchange in hand."""


process = Process()
