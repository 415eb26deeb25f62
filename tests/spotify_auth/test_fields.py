"""The encrypted column: bound to its row, silent about itself, impossible to misuse."""

import json

import pytest
from django.core import serializers
from django.core.exceptions import FieldError
from django.db import connection as database

from spotify_auth.encryption import DecryptionError
from spotify_auth.fields import Sealed
from spotify_auth.models import SpotifyToken
from tests.support.tokens import Connect, token_of

pytestmark = pytest.mark.django_db


def stored(column: str, user_id: int) -> bytes:
    with database.cursor() as cursor:
        cursor.execute(
            f"SELECT {column} FROM spotify_auth_spotifytoken WHERE user_id = %s",  # noqa: S608
            [user_id],
        )
        return bytes(cursor.fetchone()[0])


def test_the_database_holds_ciphertext_only(connect: Connect) -> None:
    user = connect()

    token = token_of(user)

    assert token.access_token
    assert token.refresh_token
    assert token.access_token.encode() not in stored("access_token", user.pk)
    assert token.refresh_token.encode() not in stored("refresh_token", user.pk)


def test_a_ciphertext_copied_to_another_row_does_not_decrypt(connect: Connect) -> None:
    victim, thief = connect("user-1"), connect("user-2")
    with database.cursor() as cursor:
        cursor.execute(
            "UPDATE spotify_auth_spotifytoken SET refresh_token = %s WHERE user_id = %s",
            [stored("refresh_token", victim.pk), thief.pk],
        )

    with pytest.raises(DecryptionError):
        _ = token_of(thief).refresh_token


def test_a_ciphertext_copied_to_another_column_does_not_decrypt(connect: Connect) -> None:
    user = connect()
    with database.cursor() as cursor:
        cursor.execute("UPDATE spotify_auth_spotifytoken SET access_token = refresh_token")

    with pytest.raises(DecryptionError):
        _ = token_of(user).access_token


def test_saving_encrypts_for_the_row(connect: Connect) -> None:
    user = connect()
    token = token_of(user)
    token.access_token = "changed"
    token.save(update_fields=["access_token"])

    assert token_of(user).access_token == "changed"
    assert b"changed" not in stored("access_token", user.pk)


def test_saving_the_whole_row_keeps_what_was_not_read(connect: Connect) -> None:
    user = connect()
    before = stored("refresh_token", user.pk)

    token_of(user).save()

    assert stored("refresh_token", user.pk) == before


def test_values_stay_sealed(connect: Connect) -> None:
    connect()

    value = SpotifyToken.objects.values_list("refresh_token", flat=True).get()

    assert isinstance(value, Sealed)
    assert repr(value) == str(value) == f"{value}" == "<sealed>"


def test_cannot_be_updated_without_its_row(connect: Connect) -> None:
    connect()

    with pytest.raises(TypeError, match="without its row"):
        SpotifyToken.objects.update(access_token="plain")


def test_cannot_be_searched() -> None:
    with pytest.raises(FieldError):
        SpotifyToken.objects.filter(access_token="plain").exists()


def test_dumps_leave_the_tokens_out(connect: Connect) -> None:
    user = connect()

    (dumped,) = json.loads(serializers.serialize("json", [token_of(user)]))

    assert "generation" in dumped["fields"]
    assert not {"access_token", "refresh_token"} & set(dumped["fields"])


def test_the_model_says_nothing_of_its_tokens(connect: Connect) -> None:
    token = token_of(connect())

    shown = f"{token} {token!r} {vars(token)}"

    assert str(token.access_token) not in shown
    assert str(token.refresh_token) not in shown
