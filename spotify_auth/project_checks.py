"""System checks of what a project has decided for itself: its times, and its databases."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning
from django.db import DEFAULT_DB_ALIAS, connections, router

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
