"""What one lane owns: its HTTP session, and its attempts in Redis."""

from types import TracebackType
from typing import Self

from spotify_auth.accounts_service import token_endpoint
from spotify_auth.refresh.attempts import Attempts


class Lane:
    """A lane of this thread, from its first claim to its last commit.

    The HTTP session is the thread's, so that its connection outlives the lane.
    """

    def __init__(self) -> None:
        self.http = token_endpoint.session_of_this_thread()
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
