"""AES-256-GCM-SIV with several keys: the first encrypts, all of them decrypt.

Stored form: version (1 byte), key id (4 bytes), nonce (12 bytes), ciphertext and tag.
SIV, because with random nonces plain GCM is safe for about 2**32 messages a key only,
and a repeated nonce must not be a catastrophe (RFC 8452).
"""

import base64
import binascii
import hashlib
import secrets
from collections.abc import Sequence
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from django.core.exceptions import ImproperlyConfigured

from spotify_auth import key_source
from spotify_auth.conf import settings
from spotify_auth.key_source import Keys, Source
from spotify_auth.secrecy import forgets_variables

_VERSION = b"\x01"
_KEY_ID_BYTES = 4
HEAD_BYTES = len(_VERSION) + _KEY_ID_BYTES
"""The bytes of a stored value that name its form and its key."""
_NONCE_BYTES = 12
_DIFFERENT_BYTES = 16
"""Of 32 random bytes about 30 differ; fewer than this are less likely than one in 10**14."""
_HEADER_BYTES = len(_VERSION) + _KEY_ID_BYTES + _NONCE_BYTES


class DecryptionError(Exception):
    """The stored bytes do not decrypt here: unknown key, another row, or damage."""


def parse_keys(raw: str) -> list[bytes] | str:
    """Read keys, 32 bytes each in base64, separated by commas; leave a dotted path as it is.

    Raises ValueError for anything else, for two keys that are the same, and for a first key that
    is not random. An older one may be weak still: what it encrypted must be read once more.
    """
    if key_source.is_path(raw):
        return raw
    keys = keys_of(raw)
    if len(set(keys[0])) < _DIFFERENT_BYTES:
        raise ValueError("the first key is not random")
    return list(keys)


@forgets_variables
def keys_of(value: Keys | Source) -> tuple[bytes, ...]:
    """The keys that a setting holds: a list of keys, text that `parse_keys` reads, or the
    function that returns one of these.

    Raises ValueError for anything else. The message says what is wrong, and shows no key.
    """
    if callable(value) or (isinstance(value, str) and key_source.is_path(value)):
        value = key_source.keys_from(value)
    keys = _from_base64(value) if isinstance(value, str) else list(value)
    if not keys:
        raise ValueError("there is no key")
    if any(not isinstance(key, bytes) for key in keys):
        raise ValueError("a key is not bytes")
    if any(len(key) != 32 for key in keys):
        raise ValueError("a key is not 32 bytes long")
    if len({_key_id(key) for key in keys}) != len(keys):
        raise ValueError("a key is there twice")
    return tuple(keys)


class Cipher:
    """Encrypts and decrypts short strings, each bound to the place where it is stored."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._by_id = {_key_id(key): AESGCMSIV(key) for key in keys}
        self._current = _key_id(keys[0])
        self.current_head = _VERSION + self._current
        """How every value begins that is encrypted under the first key."""
        self.heads = tuple(_VERSION + key_id for key_id in self._by_id)
        """The same of every key, the first one first."""

    def encrypt(self, plaintext: str, *, place: str) -> bytes:
        """Encrypt under the first key. `place` must be given again to decrypt."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._by_id[self._current].encrypt(nonce, plaintext.encode(), place.encode())
        return self.current_head + nonce + sealed

    def is_current(self, stored: bytes) -> bool:
        """Whether this was encrypted under the first key."""
        return stored[:HEAD_BYTES] == self.current_head

    def knows(self, head: bytes) -> bool:
        """Whether there is a key for stored values that begin like this."""
        return head[:1] == _VERSION and head[1:HEAD_BYTES] in self._by_id

    def decrypt(self, stored: bytes, *, place: str) -> str:
        """Decrypt what `encrypt` made for the same place, under any known key.

        Raises DecryptionError, which says what to do and never what was stored.
        """
        version, key_id = stored[:1], stored[1 : 1 + _KEY_ID_BYTES]
        nonce = stored[1 + _KEY_ID_BYTES : _HEADER_BYTES]
        if version != _VERSION or len(stored) < _HEADER_BYTES:
            raise DecryptionError(f"{place}: not in a form this version knows")
        key = self._by_id.get(key_id)
        if key is None:
            raise DecryptionError(
                f"{place}: encrypted with key {key_id.hex()}, which TOKEN_ENCRYPTION_KEYS lacks"
            )
        try:
            return key.decrypt(nonce, stored[_HEADER_BYTES:], place.encode()).decode()
        except InvalidTag as error:
            raise DecryptionError(f"{place}: damaged, or copied from another place") from error


@lru_cache(maxsize=4)
def _cipher_for(setting: tuple[bytes, ...] | Source) -> Cipher:
    try:
        return Cipher(keys_of(setting))
    except ValueError as error:
        raise ImproperlyConfigured(f"TOKEN_ENCRYPTION_KEYS is not usable: {error}.") from None


@forgets_variables
def cipher() -> Cipher:
    """The cipher of the keys in the settings. Raises ImproperlyConfigured without usable keys."""
    setting = settings.TOKEN_ENCRYPTION_KEYS
    if callable(setting) or isinstance(setting, str):
        return _cipher_for(setting)
    return _cipher_for(tuple(setting))


def _from_base64(raw: str) -> list[bytes]:
    try:
        return [base64.b64decode(part.strip(), validate=True) for part in raw.split(",")]
    except binascii.Error as error:
        raise ValueError("not base64") from error


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()[:_KEY_ID_BYTES]
