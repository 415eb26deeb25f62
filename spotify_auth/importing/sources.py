"""Every source that there is, by its name on the command line."""

from collections.abc import Callable, Mapping
from typing import Final

from spotify_auth.importing.allauth import AllauthSource
from spotify_auth.importing.csv_file import CsvSource
from spotify_auth.importing.social_auth import SocialAuthSource
from spotify_auth.importing.source import Choices, Source
from spotify_auth.importing.spotipy_cache import SpotipyCacheSource
from spotify_auth.importing.spotipy_sessions import SpotipySessionsSource

SOURCES: Final[Mapping[str, Callable[[Choices], Source]]] = {
    "allauth": AllauthSource,
    "social-auth": SocialAuthSource,
    "spotipy-cache": SpotipyCacheSource,
    "spotipy-sessions": SpotipySessionsSource,
    "csv": CsvSource,
}
