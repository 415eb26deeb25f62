"""Hearing every signal of this service."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.dispatch import Signal

from spotify_auth import signals

ALL = {name: signal for name, signal in vars(signals).items() if isinstance(signal, Signal)}

Heard = list[tuple[str, dict[str, Any]]]
"""The names of the signals in the order in which they came, each with its arguments."""


@contextmanager
def hearing() -> Iterator[Heard]:
    """Hear what is sent in this process meanwhile."""
    heard: Heard = []
    receivers = []
    for name, signal in ALL.items():

        def hear(name: str = name, **arguments: Any) -> None:
            heard.append((name, arguments))

        signal.connect(hear, weak=False)
        receivers.append((signal, hear))
    try:
        yield heard
    finally:
        for signal, receiver in receivers:
            signal.disconnect(receiver)


def names(heard: Heard) -> list[str]:
    """What was heard since the last question."""
    found = [name for name, _ in heard]
    heard.clear()
    return found
