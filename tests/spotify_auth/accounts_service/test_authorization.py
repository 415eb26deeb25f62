"""The authorize address and PKCE."""

from urllib.parse import parse_qs, urlsplit

from django.conf import settings

from spotify_auth.accounts_service.authorization import (
    authorize_url,
    code_challenge,
    new_code_verifier,
)


def test_the_challenge_is_that_of_rfc_7636_appendix_b() -> None:
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

    assert code_challenge(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_verifiers_are_long_and_never_the_same() -> None:
    verifiers = {new_code_verifier() for _ in range(100)}

    assert len(verifiers) == 100
    assert {len(verifier) for verifier in verifiers} == {64}


def test_the_address_does_not_carry_the_verifier() -> None:
    url = authorize_url(state="the-state", code_verifier="the-verifier", show_dialog=False)

    query = parse_qs(urlsplit(url).query)
    assert "the-verifier" not in url
    assert query["state"] == ["the-state"]
    assert query["scope"] == [" ".join(settings.SPOTIFY_SCOPES)]
