from collections.abc import Callable

import pytest

from spotify_auth.sandbox.signed_tokens import TokenFacts, TokenSigner

FACTS = TokenFacts(grant_number=7, generation=3, expires_at=12.5)


def test_reads_what_it_made() -> None:
    signer = TokenSigner("AQ")

    assert signer.read(signer.make(FACTS)) == FACTS


def test_looks_like_a_token_of_spotify() -> None:
    token = TokenSigner("BQ").make(FACTS)

    assert token.startswith("BQ")
    assert "=" not in token
    assert 100 < len(token) < 200


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: "",
        lambda token: token[:-1],  # cut short when it was stored
        lambda token: token + "A",
        lambda token: token + "!",  # base64 decoding would forgive this
        lambda token: token[:10] + "!" + token[10:],
        lambda token: "BQ" + token[2:],
        lambda token: token.lower(),
        lambda token: "AQ" + "ü" * 20,
        lambda token: token[:30] + ("A" if token[30] != "A" else "B") + token[31:],
    ],
)
def test_reads_nothing_from_a_spoilt_token(spoil: Callable[[str], str]) -> None:
    signer = TokenSigner("AQ")

    assert signer.read(spoil(signer.make(FACTS))) is None


def test_does_not_read_the_tokens_of_another_signer() -> None:
    assert TokenSigner("AQ").read(TokenSigner("AQ").make(FACTS)) is None
