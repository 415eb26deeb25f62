"""What happens between Spotify's answer and our commit."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from spotify_auth.refresh import refresher


def after_the_answer(patch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let something happen once, between Spotify's answer and our write."""
    ask = refresher.ask
    happened = threading.Event()

    def ask_and_act(*how: Any) -> Any:
        answer = ask(*how)
        if not happened.is_set():
            happened.set()
            act()
        return answer

    patch.setattr(refresher, "ask", ask_and_act)
