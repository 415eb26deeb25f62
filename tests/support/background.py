"""Threads that do something over and over beside a test, until its block ends."""

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from django.db import connection as database


class Background(ABC):
    """Calls `turn` in some threads, with a pause between: it shall notice, and starve nobody."""

    def __init__(self, *, threads: int, pause: float) -> None:
        self._pause = pause
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._go_on, args=(number,)) for number in range(threads)
        ]

    @abstractmethod
    def turn(self, thread: int) -> None:
        """Do it once, in the thread of this number."""

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

    def _go_on(self, number: int) -> None:
        try:
            while not self._stop.wait(self._pause):
                self.turn(number)
        finally:
            database.close()
