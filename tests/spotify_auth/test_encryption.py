"""The cipher: what it accepts, what it binds, what it says when it cannot."""

import base64
import secrets

import pytest

from spotify_auth.encryption import Cipher, DecryptionError, parse_keys

OLD, NEW = secrets.token_bytes(32), secrets.token_bytes(32)
PLACE = "table.column.1"


def b64(key: bytes) -> str:
    return base64.b64encode(key).decode()


def test_decrypts_what_it_encrypted() -> None:
    cipher = Cipher([NEW])

    assert cipher.decrypt(cipher.encrypt("geheim ☂", place=PLACE), place=PLACE) == "geheim ☂"


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    before = Cipher([OLD]).encrypt("x", place=PLACE)
    rotated = Cipher([NEW, OLD])

    assert rotated.decrypt(before, place=PLACE) == "x"
    with pytest.raises(DecryptionError, match="TOKEN_ENCRYPTION_KEYS lacks"):
        Cipher([OLD]).decrypt(rotated.encrypt("x", place=PLACE), place=PLACE)


def test_equal_texts_have_different_ciphertexts() -> None:
    cipher = Cipher([NEW])

    assert cipher.encrypt("x", place=PLACE) != cipher.encrypt("x", place=PLACE)


@pytest.mark.parametrize(
    "place",
    [
        "table.column.2",  # another row
        "table.other.1",  # another column
        "other.column.1",  # another table
    ],
)
def test_a_copied_ciphertext_does_not_decrypt(place: str) -> None:
    cipher = Cipher([NEW])
    sealed = cipher.encrypt("x", place=PLACE)

    with pytest.raises(DecryptionError, match="copied from another place"):
        cipher.decrypt(sealed, place=place)


def test_every_flipped_bit_is_noticed() -> None:
    cipher = Cipher([NEW])
    sealed = cipher.encrypt("x", place=PLACE)

    for position in range(len(sealed)):
        damaged = bytearray(sealed)
        damaged[position] ^= 1
        with pytest.raises(DecryptionError):
            cipher.decrypt(bytes(damaged), place=PLACE)


@pytest.mark.parametrize("length", range(17))
def test_truncated_bytes_are_refused(length: int) -> None:
    cipher = Cipher([NEW])

    with pytest.raises(DecryptionError):
        cipher.decrypt(cipher.encrypt("x", place=PLACE)[:length], place=PLACE)


def test_reads_several_keys() -> None:
    assert parse_keys(f"{b64(NEW)}, {b64(OLD)}") == [NEW, OLD]


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "not base64!",
        b64(NEW[:31]),
        b64(NEW + b"x"),
        f"{b64(NEW)},",
        f"{b64(NEW)},{b64(NEW)}",
    ],
    # The keys are random, and a test must have the same name in every process.
    ids=["nothing", "words", "too short", "too long", "empty second key", "same key twice"],
)
def test_refuses_malformed_keys(raw: str) -> None:
    with pytest.raises(ValueError, match=r"key|base64"):
        parse_keys(raw)
