"""Secrets of a local run, made once and kept, so that the next run can read its data."""

import base64
import json
import os
import secrets

from dev.process import LOCAL, make_local

FILE = LOCAL / "secrets.json"


def local_secrets() -> dict[str, str]:
    """The secrets of this clone, made at the first call; only their owner can read them."""
    if FILE.exists():
        kept: dict[str, str] = json.loads(FILE.read_text())
        return kept
    made = {
        "SECRET_KEY": secrets.token_urlsafe(50),
        "TOKEN_ENCRYPTION_KEYS": base64.b64encode(secrets.token_bytes(32)).decode(),
        "POSTGRES_PASSWORD": secrets.token_urlsafe(24),
        "REDIS_PASSWORD": secrets.token_urlsafe(24),
    }
    make_local()
    # The file is renamed when it is complete: half a file would make the data unreadable.
    unfinished = FILE.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(made, file, indent=2)
    unfinished.rename(FILE)
    return made
