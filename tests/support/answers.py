"""What happens between Spotify's answer and our commit."""

import threading
from collections.abc import Callable

import pytest

from spotify_auth.accounts_service.grant import Grant
from spotify_auth.refresh import refresher
from spotify_auth.refresh.claims import Claim


def after_the_answer(patch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let something happen once, between Spotify's answer and our write."""
    exchange = refresher._exchange
    happened = threading.Event()

    def exchange_and_act(claim: Claim) -> Grant:
        grant = exchange(claim)
        if not happened.is_set():
            happened.set()
            act()
        return grant

    patch.setattr(refresher, "_exchange", exchange_and_act)
