"""What the subcommands of `manage.py tokens` share: their shape, their output, their end."""

import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any, Protocol, TextIO, cast

import click
import redis
from django.core.management.base import CommandError, CommandParser, OutputWrapper
from django.db import Error

LINE_SECONDS = 5.0
"""How often progress is a line, where the output is no terminal."""


class Subcommand(Protocol):
    """One subcommand: a name, its arguments and what it does."""

    name: str
    help: str

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what this subcommand takes."""

    def handle(self, out: OutputWrapper, options: Mapping[str, Any]) -> None:
        """Do it. Raises CommandError, whose message is for the operator."""


class Progress:
    """Rows done of rows to do: a bar on a terminal, else a line every few seconds."""

    def __init__(self, out: OutputWrapper, label: str, total: int) -> None:
        self._out, self._label, self._total = out, label, total
        self._done, self._began = 0, time.monotonic()
        self._next_line = self._began + LINE_SECONDS
        self._bar: Any = None

    @contextmanager
    def shown(self) -> Iterator["Progress"]:
        """Show it for as long as the block lasts."""
        with ExitStack() as stack:
            if self._out.isatty():
                terminal = cast(TextIO, self._out._out)
                bar = click.progressbar(
                    length=self._total, label=self._label, file=terminal, show_pos=True
                )
                self._bar = stack.enter_context(bar)
            yield self
        self._line()

    def advance(self, rows: int) -> None:
        """Some more rows are done."""
        self._done += rows
        # Others may add to the work meanwhile.
        self._total = max(self._total, self._done)
        if self._bar:
            self._bar.update(rows)
        elif time.monotonic() > self._next_line:
            self._line()
            self._next_line = time.monotonic() + LINE_SECONDS

    def _line(self) -> None:
        seconds = max(time.monotonic() - self._began, 0.001)
        rate = self._done / seconds
        self._out.write(f"{self._label}: {self._done} of {self._total} rows, {rate:.0f} a second")


def silent(anything: object) -> None:
    """In the place of lines and of progress, where the report is for programs."""


@contextmanager
def gentle_end() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set, for work that ends between two batches."""
    stopping = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopping  # no thread but the main one gets signals
        return

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def readable_failures() -> Iterator[None]:
    """Say in a line which server failed. What is done by then is done."""
    try:
        yield
    except Error as error:
        said = f"PostgreSQL failed ({type(error).__name__})"
    except redis.RedisError as error:
        said = f"Redis failed ({type(error).__name__})"
    else:
        return
    raise CommandError(f"{said}. What was done is done: run the same command again.")


def confirmed(question: str) -> bool:
    """Whether the operator at the terminal types yes. Ctrl-C and Ctrl-D are a no."""
    if sys.stdin is None or not sys.stdin.isatty():
        return False
    try:
        return input(f"{question} Type yes to go on: ").strip() == "yes"
    except (EOFError, KeyboardInterrupt):
        sys.stdout.write("\n")  # what follows begins a line of its own
        return False
