"""What one lane owns: its connection to the token endpoint, and its attempts in Redis."""

from types import TracebackType
from typing import Self

from spotify_auth.accounts_service import transport
from spotify_auth.refresh.attempts import Attempts


class Lane:
    """A lane of this thread, from its first claim to its last commit.

    The connection is the thread's: it outlives the lane.
    """

    def __init__(self) -> None:
        self.transport = transport.of_this_thread()
        self.attempts = Attempts()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.attempts.flush()
