"""Encryption keys, and who has them."""

import base64
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from django.test import override_settings

from spotify_auth.models import SpotifyToken

OLD, NEW = secrets.token_bytes(32), secrets.token_bytes(32)


def from_a_kms() -> list[bytes]:
    """What a project's own function would fetch."""
    return [b"a key of a KMS, 32 bytes of it.."]


@contextmanager
def keys(*present: bytes) -> Iterator[None]:
    """These keys, as a process has them whose environment names them."""
    with override_settings(TOKEN_ENCRYPTION_KEYS=list(present)):
        yield


def in_base64(*present: bytes) -> str:
    """The same for the environment of a process."""
    return ",".join(base64.b64encode(key).decode() for key in present)


def stored_bytes(user_id: int) -> tuple[bytes | None, bytes | None]:
    """A user's sealed access token and refresh token."""
    columns = ("access_token", "refresh_token")
    access, refresh = SpotifyToken.objects.values_list(*columns).get(pk=user_id)
    return access and bytes(access), refresh and bytes(refresh)
