"""The app's settings: the project's values, else the defaults, else one readable line."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from config import settings as product
from spotify_auth import conf
from spotify_auth.conf import DEFAULTS, REQUIRED

COMPUTED = {
    "SPOTIFY_CONNECTION_URL",
    "SPOTIFY_BASE_TEMPLATE",
    "MOST_DATABASE_CONNECTIONS",
    "DOCTOR_CHECKS",
    "AFTER_REVOKING",
}
"""Set in config/settings.py, and not read from one variable."""

BROKER = "redis://127.0.0.1:6379/3"


def test_a_value_of_the_project_wins(settings: Settings) -> None:
    settings.REFRESH_LANES = 3

    assert conf.settings.REFRESH_LANES == 3


@pytest.mark.parametrize("name", DEFAULTS)
def test_each_default_is_there_without_the_projects_setting(settings: Settings, name: str) -> None:
    delattr(settings, name)

    assert getattr(conf.settings, name) == DEFAULTS[name]


def test_a_zero_of_the_project_is_a_value(settings: Settings) -> None:
    settings.ACCESS_TOKEN_MINIMUM_SECONDS = 0

    assert conf.settings.ACCESS_TOKEN_MINIMUM_SECONDS == 0


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("value", ["deleted", None, "", []])
def test_a_missing_required_setting_is_named_in_one_line(
    settings: Settings, name: str, value: object
) -> None:
    settings.CELERY_BROKER_URL = ""
    setattr(settings, name, value)
    if value == "deleted":
        delattr(settings, name)

    with pytest.raises(ImproperlyConfigured) as raised:
        getattr(conf.settings, name)

    assert str(raised.value).startswith(f"{name} is missing: set it to ")
    assert "\n" not in str(raised.value)


def test_what_is_no_setting_of_the_app_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="NO_SUCH_SETTING"):
        conf.settings.NO_SUCH_SETTING  # noqa: B018


@pytest.mark.parametrize(
    ("broker", "usable"),
    [(BROKER, True), ("rediss://h/0", True), ("amqp://h//", False), (None, False)],
)
def test_celerys_broker_is_the_redis_if_it_is_one(
    settings: Settings, broker: str | None, usable: bool
) -> None:
    del settings.REDIS_URL
    settings.CELERY_BROKER_URL = broker

    if usable:
        assert broker == conf.settings.REDIS_URL
    else:
        with pytest.raises(ImproperlyConfigured, match="REDIS_URL is missing"):
            conf.settings.REDIS_URL  # noqa: B018


@pytest.mark.parametrize(
    ("redirect_uri", "https"),
    [("https://example.com/spotify/callback/", True), ("http://127.0.0.1/callback/", False)],
)
def test_the_redirect_uri_says_whether_the_site_has_https(
    settings: Settings, redirect_uri: str, https: bool
) -> None:
    del settings.HTTPS
    settings.SPOTIFY_REDIRECT_URI = redirect_uri

    assert conf.settings.HTTPS is https


def test_the_product_has_no_defaults_of_its_own_for_them() -> None:
    settings_of_both = set(DEFAULTS) & set(product.env.names)

    assert settings_of_both == set(DEFAULTS) - COMPUTED
