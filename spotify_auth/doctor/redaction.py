"""Nothing that the doctor says holds a secret, whoever's words they are.

No check means to show one. But the words of a driver, of a server or of a project's own check
may have an address with its password in them.
"""

import base64
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import unquote, urlsplit

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

from spotify_auth.conf import settings
from spotify_auth.doctor.findings import Finding
from spotify_auth.encryption import keys_of

_SHORTEST = 4
"""A shorter secret is none, and would take letters out of other words."""


def redacted(finding: Finding) -> Finding:
    """The same finding, with stars in the place of every secret of the settings."""
    secrets = sorted(_secrets(), key=len, reverse=True)

    def hide(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "********")
        return text

    return replace(
        finding,
        found=hide(finding.found),
        advice=hide(finding.advice),
        facts={name: hide(value) for name, value in finding.facts.items()},
        more={name: hide(value) for name, value in finding.more.items()},
    )


def address(url: str) -> str:
    """Where an address leads, without who logs in there and without its query."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{place}{parts.path}"


def _secrets() -> set[str]:
    texts = {str(each) for each in _texts() if each}
    return {each for each in texts | {unquote(each) for each in texts} if len(each) >= _SHORTEST}


def _texts() -> Iterator[object]:
    yield django_settings.SECRET_KEY
    yield from django_settings.SECRET_KEY_FALLBACKS
    yield django_settings.EMAIL_HOST_PASSWORD
    for database in django_settings.DATABASES.values():
        yield database.get("PASSWORD")
    for name in ("REDIS_URL", "OUTBOUND_PROXY_URL"):
        yield urlsplit(str(_value(name) or "")).password
    yield urlsplit(str(getattr(django_settings, "CELERY_BROKER_URL", "") or "")).password
    yield _value("SPOTIFY_CLIENT_SECRET")
    yield _value("OPERATIONS_TOKEN")
    try:
        keys = keys_of(settings.TOKEN_ENCRYPTION_KEYS)
    except (ImproperlyConfigured, ValueError):
        return
    for key in keys:
        yield from (base64.b64encode(key).decode(), key.hex(), repr(key)[2:-1])


def _value(name: str) -> object:
    try:
        return getattr(settings, name)
    except ImproperlyConfigured:
        return None
