"""A web server that could not take users back from Spotify does not start."""

import sys

from django.conf import settings

from spotify_auth.redirect_uri import view_of


def stop_without_callback() -> None:
    """End the process with a message if no view answers the path of SPOTIFY_REDIRECT_URI."""
    match = view_of(settings.SPOTIFY_REDIRECT_URI)
    if match is None or match.url_name != "callback":
        sys.exit(
            "The settings are not usable (see .env.example):\n"
            "  SPOTIFY_REDIRECT_URI is malformed: its path must be /spotify/callback/."
        )
