"""System checks of scopes: what is asked for in one place must be asked for in the others.

Each approval replaces the one before, with the scopes that were asked for then.
"""

from collections.abc import Collection, Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning
from django.urls import URLResolver, get_resolver

from spotify_auth.conf import settings


def check_setting(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E012: SPOTIFY_SCOPES is one text, as spotipy takes it: each letter would be a scope."""
    asked: Any = settings.SPOTIFY_SCOPES
    is_list = isinstance(asked, list | tuple | set | frozenset)
    if is_list and all(isinstance(scope, str) and scope.split() == [scope] for scope in asked):
        return []
    return [
        Error(
            "SPOTIFY_SCOPES is no list of scopes: Spotify would refuse every login.",
            hint='Set it to a list of names without spaces: ["user-top-read", …].',
            id="spotify_auth.E012",
        )
    ]


def check_views(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W006: a view wants scopes that nobody is asked for."""
    if check_setting(app_configs):
        return []
    asked = set(settings.SPOTIFY_SCOPES)
    return [
        Warning(
            f"{view} wants {_named(scopes - asked)}, which SPOTIFY_SCOPES has not: who reconnects "
            "is not asked for it, and comes back to the same page.",
            hint="Add it to SPOTIFY_SCOPES.",
            id="spotify_auth.W006",
        )
        for view, scopes in sorted(_wanted(get_resolver()).items())
        if scopes - asked
    ]


def check_logins(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W007: another library's login asks for other scopes than the button to reconnect."""
    if check_setting(app_configs):
        return []
    asked = set(settings.SPOTIFY_SCOPES)
    return [
        Warning(
            f"SPOTIFY_SCOPES and {name} differ by {_named(asked ^ scopes)}: a login by one takes "
            "away what only the other asks for.",
            hint=f"Use one list for both: {name} = SPOTIFY_SCOPES.",
            id="spotify_auth.W007",
        )
        for name, scopes in _of_other_logins()
        if scopes != asked
    ]


def _wanted(resolver: URLResolver) -> dict[str, frozenset[str]]:
    """The scopes that `spotify_required` looks for, of each view that has an address."""
    found: dict[str, frozenset[str]] = {}
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            found |= _wanted(pattern)
        elif scopes := getattr(pattern.callback, "spotify_scopes", None):
            found[pattern.lookup_str] = scopes
    return found


def _of_other_logins() -> list[tuple[str, set[str]]]:
    """The setting of each library whose logins are taken over, and its scopes."""
    found = []
    if apps.is_installed("spotify_auth.contrib.allauth"):
        provider = getattr(django_settings, "SOCIALACCOUNT_PROVIDERS", {}).get("spotify", {})
        scopes = set(provider.get("SCOPE") or ())
        found.append(('SOCIALACCOUNT_PROVIDERS["spotify"]["SCOPE"]', scopes))
    if any("spotify_auth.contrib" in step for step in _pipeline()):
        scopes = set(getattr(django_settings, "SOCIAL_AUTH_SPOTIFY_SCOPE", None) or ())
        found.append(("SOCIAL_AUTH_SPOTIFY_SCOPE", scopes))
    return found


def _pipeline() -> Collection[str]:
    steps: Collection[str] = getattr(django_settings, "SOCIAL_AUTH_PIPELINE", ())
    return steps


def _named(scopes: Collection[str]) -> str:
    return ", ".join(sorted(scopes))
