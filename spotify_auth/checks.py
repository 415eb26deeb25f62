"""System checks: `manage.py check` refuses settings under which tokens would go stale."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from spotify_auth.schedule import slack_problems


@register
def check_slack(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E001: the settings leave a refresh too little time before expiry.

    The environment is checked when the settings are read; this check covers projects
    that set the values in Python.
    """
    problems = slack_problems(
        lifetime=settings.ACCESS_TOKEN_LIFETIME_SECONDS,
        sweep=settings.REFRESH_SWEEP_SECONDS,
        deadline=settings.TOKEN_ENDPOINT_DEADLINE_SECONDS,
        minimum=settings.ACCESS_TOKEN_MINIMUM_SECONDS,
    )
    return [Error(problem, id="spotify_auth.E001") for problem in problems]
