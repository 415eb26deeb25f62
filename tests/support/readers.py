"""Readers that look at every token, all the while, from other threads."""

import itertools
from collections import Counter
from collections.abc import Sequence

from spotify_auth import tokens
from tests.support.background import Background
from tests.support.sandbox_client import Sandbox


class Readers(Background):
    """Reads tokens over and over and uses some of them; counts what it meets.

    `reads` counts `fresh` and the names of the exceptions; `web_api` counts the status
    codes of /v1/me, called with every fiftieth token.
    """

    def __init__(self, user_ids: Sequence[int], sandbox: Sandbox, *, threads: int = 2) -> None:
        # Each of fifty tokens twice a second: without a pause the readers take a core.
        super().__init__(threads=threads, pause=0.02)
        self.reads: Counter[str] = Counter()
        self.web_api: Counter[int] = Counter()
        self._sandbox = sandbox
        self._turns = [enumerate(itertools.cycle(user_ids[n::threads])) for n in range(threads)]

    def turn(self, thread: int) -> None:
        """Read the next of this thread's tokens."""
        count, user_id = next(self._turns[thread])
        try:
            token = tokens.access_token_for(user_id, minimum_seconds=1)
        except tokens.TokenUnavailable as error:
            self.reads[type(error).__name__] += 1
        else:
            self.reads["fresh"] += 1
            if count % 50 == 0:
                self.web_api[self._sandbox.get("/v1/me", token.value).status_code] += 1
