"""System checks of what a project has decided for itself: values, times, databases, cookies."""

import re
from collections.abc import Sequence
from typing import Any, TypeGuard

from django.apps import AppConfig, apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning
from django.db import DEFAULT_DB_ALIAS, connections, router

from spotify_auth import conf
from spotify_auth.conf import settings

_APP = "spotify_auth"
_ROUTER = 'Put "spotify_auth.routers.DefaultDatabase" first into DATABASE_ROUTERS'


def check_time_zones(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E009: Django gives times without a time zone, which cannot be compared with Spotify's."""
    if django_settings.USE_TZ:
        return []
    return [
        Error(
            "USE_TZ is False: the times at which tokens expire need a time zone.",
            hint="Set USE_TZ = True. PostgreSQL's tables stay as they are, since Django stores "
            "moments there either way; your own code gets times with a time zone from then on.",
            id="spotify_auth.E009",
        )
    ]


def check_numbers(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E013: a setting that counts is a text, as the environment has them, or too small."""
    return [
        Error(
            f"{name} is no number, or too small.",
            hint=f"Set it to a number{'' if _may_be_0(name) else ' above 0'}: what the "
            f'environment holds is text, so write float(os.environ["{name}"]), for example.',
            id="spotify_auth.E013",
        )
        for name, default in conf.DEFAULTS.items()
        if _is_number(default) and not _counts(name, getattr(settings, name))
    ]


def _counts(name: str, value: object) -> bool:
    return _is_number(value) and (value > 0 or (value == 0 and _may_be_0(name)))


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _may_be_0(name: str) -> bool:
    """Whether 0 has a meaning of its own: none, never, not at all."""
    limits = name.startswith("RATE_LIMIT_") or name == "DASHBOARD_KEPT_SECONDS"
    return limits or conf.DEFAULTS[name] == 0


def check_addresses(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E014: an address of Spotify's has no scheme, or an end that would be there twice."""
    return [
        Error(
            f"{name} has no https:// at its beginning, or /v1 or a / at its end.",
            hint="Leave it out, or write it as in https://api.spotify.com: paths follow it.",
            id="spotify_auth.E014",
        )
        for name in ("SPOTIFY_ACCOUNTS_URL", "SPOTIFY_API_URL")
        if not re.fullmatch(r"https?://[^?#@\s]+(?<!/)(?<!/v1)", str(getattr(settings, name)))
    ]


def check_session_cookie(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """W009: the browser comes back from Spotify without its session."""
    if django_settings.SESSION_COOKIE_SAMESITE != "Strict":
        return []
    return [
        Warning(
            'SESSION_COOKIE_SAMESITE is "Strict": whoever comes back from Spotify, another site, '
            "is not logged in then, and cannot connect. (The sandbox on this machine counts as "
            "the same site, so that it works there.)",
            hint='Set it to "Lax", which is Django\'s default.',
            id="spotify_auth.W009",
        )
    ]


def check_routers(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E011: a router sends this app's rows to another database than its own SQL goes to."""
    models = list(apps.get_app_config(_APP).get_models())
    elsewhere = {
        *(router.db_for_write(model) for model in models),
        *(router.db_for_read(model) for model in models),
    } - {DEFAULT_DB_ALIAS}
    return [
        Error(
            f"DATABASE_ROUTERS send rows of {_APP} to the database {alias!r}, and its row locks "
            "are in the default one.",
            hint=f"{_ROUTER}: it keeps them in the default database.",
            id="spotify_auth.E011",
        )
        for alias in sorted(elsewhere)
    ]


def check_other_databases(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """W008: `migrate`, and a test run, would make this app's tables where they cannot be."""
    return [
        Warning(
            f"The tables of {_APP} would be made in the database {alias!r} too, by `migrate "
            f"--database {alias}` and by test runs: that fails, since it is not PostgreSQL.",
            hint=f"{_ROUTER}: it lets the default database alone have them.",
            id="spotify_auth.W008",
        )
        for alias in connections
        if alias != DEFAULT_DB_ALIAS
        and connections[alias].vendor != "postgresql"
        and router.allow_migrate(alias, _APP)
    ]
