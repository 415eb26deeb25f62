"""What happens to a lane between its claim and its commit."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from spotify_auth.refresh import refresher
from spotify_auth.refresh.attempts import Attempt, Attempts
from spotify_auth.refresh.claims import Claim


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


def after_the_claim(patch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Let something happen once, between a lane's claim and its mark."""
    track = Attempts.track
    acts = iter((act,))

    def act_and_track(lane: Attempts, claim: Claim) -> Attempt:
        next(acts, lambda: None)()
        return track(lane, claim)

    patch.setattr(Attempts, "track", act_and_track)
