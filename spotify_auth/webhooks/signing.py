"""Signatures of webhooks, by the Standard Webhooks convention.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable

from spotify_auth.secrecy import forgets_variables

PREFIX = "whsec_"
_BYTES = 32


def new_secret() -> str:
    """A secret for one address."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_BYTES)).decode()


@forgets_variables
def headers(
    message_id: str, timestamp: int, body: bytes, *, with_secrets: Iterable[str]
) -> dict[str, str]:
    """The three headers: id, time in seconds since 1970, and a signature with each secret."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signature(secret, signed) for secret in with_secrets),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
