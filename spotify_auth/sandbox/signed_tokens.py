"""Tokens that carry their own facts, signed, so that dead ones cost no memory.

Spotify's tokens are opaque. These look alike (URL-safe, about 120 characters) but hold
the grant, the generation of the pair and the expiry: garbage is told from a token that
was once good without a table of every token ever given out.
"""

import secrets
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from hmac import compare_digest
from typing import NamedTuple

_FACTS = struct.Struct(">QQd")
_SIGNATURE_BYTES = 63  # with the facts, a multiple of three: base64 needs no padding


class TokenFacts(NamedTuple):
    """What a token says about itself. `expires_at` is on the sandbox's monotonic clock."""

    grant_number: int
    generation: int
    expires_at: float


class TokenSigner:
    """Makes and reads one kind of token; the prefix tells the kinds apart.

    Spotify's refresh tokens begin with `AQ` and its access tokens with `BQ`.
    """

    def __init__(self, prefix: str, key: bytes | None = None) -> None:
        """`key` is that of an earlier signer, whose tokens this one is to know."""
        self._prefix = prefix
        self.key = key or secrets.token_bytes(32)

    def make(self, facts: TokenFacts) -> str:
        packed = _FACTS.pack(*facts)
        signature = blake2b(packed, digest_size=_SIGNATURE_BYTES, key=self.key).digest()
        return self._prefix + urlsafe_b64encode(packed + signature).decode()

    def read(self, token: str) -> TokenFacts | None:
        """The facts, or None for anything this signer did not make."""
        if not token.isascii():
            return None
        try:
            raw = urlsafe_b64decode(token[len(self._prefix) :])
            facts = TokenFacts(*_FACTS.unpack(raw[: _FACTS.size]))
        except (ValueError, struct.error):
            return None
        # Made again and compared whole: decoding alone forgives stray characters.
        return facts if compare_digest(self.make(facts), token) else None
