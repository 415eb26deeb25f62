"""Secrets of a local run, made once and kept, so that the next run can read its data."""

import base64
import json
import os
import secrets

from dev.process import LOCAL, make_local

FILE = LOCAL / "secrets.json"


def local_secrets() -> dict[str, str]:
    """The secrets of this clone, made at the first call; only their owner can read them.

    Those that an earlier version did not make are added to its file.
    """
    kept: dict[str, str] = json.loads(FILE.read_text()) if FILE.exists() else {}
    complete = {**_made(), **kept}
    if complete != kept:
        _keep(complete)
    return complete


def _made() -> dict[str, str]:
    return {
        "SECRET_KEY": secrets.token_urlsafe(50),
        "TOKEN_ENCRYPTION_KEYS": base64.b64encode(secrets.token_bytes(32)).decode(),
        "POSTGRES_PASSWORD": secrets.token_urlsafe(24),
        "REDIS_PASSWORD": secrets.token_urlsafe(24),
        "ADMINISTRATOR_PASSWORD": secrets.token_urlsafe(12),
    }


def _keep(complete: dict[str, str]) -> None:
    make_local()
    # The file is renamed when it is complete: half a file would make the data unreadable.
    unfinished = FILE.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(complete, file, indent=2)
    unfinished.rename(FILE)
