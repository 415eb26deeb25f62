"""Readers that behave as pages do, all the while, and count what they meet."""

import random
import threading
from collections import Counter
from collections.abc import Sequence

from django.db import Error, close_old_connections
from django.db import connection as database

from spotify_auth import tokens, web_api
from tests.support.background import Background

PAUSE_SECONDS = 0.01
CALL_EVERY = 10


class Readers(Background):
    """Reads tokens over and over, and with every tenth calls the Web API as a page does.

    `reads` counts `fresh`, the names of the exceptions, and `database away`; `web_api`
    counts `ok` and the codes of the errors. A 401 that the page could not help is
    `nudged`: it asked for a refresh and shows its "reconnecting" meanwhile.
    """

    def __init__(self, user_ids: Sequence[int], *, threads: int, seed: int) -> None:
        super().__init__(threads=threads, pause=PAUSE_SECONDS)
        self.reads: Counter[str] = Counter()
        self.web_api: Counter[str] = Counter()
        self._user_ids = user_ids
        self._counting = threading.Lock()
        self._chances = [random.Random(seed + n) for n in range(threads)]

    def turn(self, thread: int) -> None:
        """Read one user's token, and in one of ten cases call the Web API with it."""
        chance = self._chances[thread]
        calls = chance.randrange(CALL_EVERY) == 0
        self._read(chance.choice(self._user_ids), calls=calls)
        close_old_connections()  # as Django does when a request ends

    def _read(self, user_id: int, *, calls: bool) -> None:
        called: str | None = None
        try:
            if calls:
                answers = web_api.get_all(user_id, {"me": ("/me", {})})
                me = answers.get("me", "nudged")
                called = me.code if isinstance(me, web_api.WebApiError) else "ok"
                called = me if isinstance(me, str) else called
            else:
                tokens.access_token_for(user_id)
            read = "fresh"
        except tokens.TokenUnavailable as error:
            read = type(error).__name__
        except Error:
            database.close()
            read = "database away"
        with self._counting:
            self.reads[read] += 1
            if called:
                self.web_api[called] += 1
