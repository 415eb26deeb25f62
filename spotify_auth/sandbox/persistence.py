"""Remembering the grants from one start to the next, in a file.

Refresh tokens outlive a restart of Spotify, and so they do here: else everybody whose
token the service keeps would have to log in again after each `make run`. Access tokens
do not: their key is new, so that the old ones answer 401 and are replaced.
"""

import json
import os
import time
from pathlib import Path

from .state import Grant, State

_KEPT = ("scope", "generation", "refresh_generation", "revoked")


def save(state: State, path: Path) -> None:
    """Write the grants and the key of the refresh tokens; only the owner can read them."""
    now = time.monotonic()
    memory = {
        "saved_at": time.time(),
        "refresh_key": state.refresh_key.hex(),
        "grants": [
            {
                **{name: getattr(grant, name) for name in _KEPT},
                "persona_id": grant.account.persona_id,
                "age": now - grant.authorized_at,
            }
            for grant in state.grants
        ],
    }
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(memory, file)


def load(state: State, path: Path) -> None:
    """Take up what was saved, if anything was. What cannot be read is forgotten."""
    try:
        memory = json.loads(path.read_text())
        away = max(0.0, time.time() - memory["saved_at"])
        grants = [
            Grant(
                number=number,
                account=state.account(saved["persona_id"]),
                authorized_at=time.monotonic() - saved["age"] - away,
                **{name: saved[name] for name in _KEPT},
            )
            for number, saved in enumerate(memory["grants"])
        ]
        key = bytes.fromhex(memory["refresh_key"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return
    state.restore(grants, refresh_key=key)
