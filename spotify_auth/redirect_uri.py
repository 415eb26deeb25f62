"""Redirect URIs that Spotify takes, and that come back to this site.

https://developer.spotify.com/documentation/web-api/concepts/redirect_uri
"""

import ipaddress
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.urls import Resolver404, ResolverMatch, resolve
from django.utils import translation


def redirect_uri(raw: str) -> str:
    """A redirect URI as it is written. Raises ValueError for one that cannot work.

    Spotify takes https, or plain http on a literal loopback address, and never "localhost". A
    query or a fragment would not survive: the callback's own is added to it.
    """
    parts = urlsplit(raw)
    host = parts.hostname
    if parts.scheme not in {"http", "https"} or not host or parts.port == 0:
        raise ValueError("not an http address")
    if host == "localhost" or (parts.scheme == "http" and not _is_loopback(host)):
        raise ValueError("a host that Spotify does not take")
    if "?" in raw or "#" in raw or "@" in parts.netloc:
        raise ValueError("more than an address")
    return raw


def view_of(uri: str) -> ResolverMatch | None:
    """What answers its path here, in any language of the site; None if no route does."""
    path = urlsplit(uri).path or "/"
    # Not `get_script_prefix()`: the thread in which runserver checks does not have it.
    prefix = (django_settings.FORCE_SCRIPT_NAME or "").rstrip("/")
    if not path.startswith(f"{prefix}/"):
        return None
    languages = [code for code, _ in django_settings.LANGUAGES] if django_settings.USE_I18N else []
    for language in (translation.get_language(), *languages):  # for `i18n_patterns`
        with translation.override(language):
            try:
                return resolve(path.removeprefix(prefix))
            except Resolver404:
                continue
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
