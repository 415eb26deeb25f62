"""The users that the peers' sites share."""

from typing import Any

import requests
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser


def user_named(persona: str) -> AbstractUser:
    """The user of this name, made at the first call."""
    user, _ = get_user_model().objects.get_or_create(username=persona)
    return user


def me(access_token: str) -> dict[str, Any]:
    """GET /v1/me, for a package that gives a token and leaves the call to the site."""
    response = requests.get(
        f"{settings.SPOTIFY_API_URL}/v1/me",
        headers={"Authorization": f"Bearer {access_token}"},
        timeout=10,
    )
    response.raise_for_status()
    answer: dict[str, Any] = response.json()
    return answer
