"""Readers that look at every token, all the while, from other threads."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from django.db import connection as database

from spotify_auth import tokens
from tests.sandbox_client import Sandbox


class Readers:
    """Reads tokens over and over and uses some of them; counts what it meets.

    `reads` counts `fresh` and the names of the exceptions; `web_api` counts the status
    codes of /v1/me, called with every fiftieth token.
    """

    def __init__(self, user_ids: Sequence[int], sandbox: Sandbox, *, threads: int = 2) -> None:
        self.reads: Counter[str] = Counter()
        self.web_api: Counter[int] = Counter()
        self._sandbox = sandbox
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._read, args=(user_ids[n::threads],))
            for n in range(threads)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _read(self, user_ids: Sequence[int]) -> None:
        try:
            for count, user_id in enumerate(itertools.cycle(user_ids)):
                if self._stop.is_set():
                    return
                try:
                    token = tokens.access_token_for(user_id, minimum_seconds=1)
                except tokens.TokenUnavailable as error:
                    self.reads[type(error).__name__] += 1
                else:
                    self.reads["fresh"] += 1
                    if count % 50 == 0:
                        answer = self._sandbox.get("/v1/me", token.value)
                        self.web_api[answer.status_code] += 1
                # A pause, so that the readers do not starve the two cores.
                time.sleep(0.002)
        finally:
            database.close()
