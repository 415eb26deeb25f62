"""spotipy's `token_info`, wherever it keeps it."""

from typing import Any

from spotify_auth.importing import candidates
from spotify_auth.importing.candidates import Candidate, Unusable
from spotify_auth.models import UserId


def candidate(info: object, *, place: str, key: Any, user_id: UserId) -> Candidate:
    """What one says. Raises Unusable.

    Its scope is what was requested: the first refresh brings what was granted.
    """
    if not isinstance(info, dict):
        raise Unusable("the token_info is no JSON object")
    return Candidate(
        place=place,
        key=key,
        user_id=user_id,
        refresh_token=candidates.token("refresh token", info.get("refresh_token")),
        access_token=candidates.token("access token", info.get("access_token")),
        expires_at=candidates.expiry(info.get("expires_at")),
        scope=candidates.scope(info.get("scope")),
        authorized_at=None,
    )
