"""The token model that Authlib's documentation sketches."""

from typing import ClassVar

from django.conf import settings
from django.db import models


class OAuth2Token(models.Model):
    """https://docs.authlib.org/en/latest/client/django.html, and "Web OAuth Clients" there.

    The columns are longer than in the sketch: Spotify's tokens do not fit into 200 characters
    for certain.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    name = models.CharField(max_length=40)
    token_type = models.CharField(max_length=40)
    access_token = models.CharField(max_length=500)
    refresh_token = models.CharField(max_length=500, db_index=True)
    expires_at = models.PositiveIntegerField()

    objects: ClassVar[models.Manager["OAuth2Token"]] = models.Manager()

    class Meta:
        app_label = "authlib_tokens"
        unique_together = (("user", "name"),)

    def __str__(self) -> str:
        return f"{self.name} token {self.pk}"

    def to_token(self) -> dict[str, str | int]:
        """In the form that Authlib's clients take."""
        return {
            "access_token": self.access_token,
            "token_type": self.token_type,
            "refresh_token": self.refresh_token,
            "expires_at": self.expires_at,
        }
