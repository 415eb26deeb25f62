"""What one lane owns: its connection to the token endpoint, and its attempts in Redis."""

from threading import Event
from types import TracebackType
from typing import Self

from spotify_auth.accounts_service import transport
from spotify_auth.refresh.attempts import Attempts


class Lane:
    """A lane of this thread, from its first claim to its last commit.

    The connection is the thread's: it outlives the lane.
    """

    def __init__(self, *, may_wait: bool = False) -> None:
        """`may_wait`: it goes on when the pace has no permit at the moment."""
        self.transport = transport.of_this_thread()
        self.attempts = Attempts(may_wait=may_wait)

    def __enter__(self) -> Self:
        return self

    def rest(self, stopping: Event) -> None:
        """Between two tokens: wait for the permit that is kept, or until the worker stops."""
        self.attempts.permit.look()
        self.attempts.permit.wait(stopping)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.attempts.permit.look()
        self.attempts.flush()
