"""The tables of allauth's and social-auth's own models, and lanes that refresh."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest
from django.apps import AppConfig, apps
from django.db import connection as database
from django.test import override_settings
from pytest_django import DjangoDbBlocker

from tests.support import other_keepers
from tests.support.lanes import lanes_beside


@contextmanager
def installed(entries: Iterable[str]) -> Iterator[None]:
    """Further apps, while the block lasts.

    Not by INSTALLED_APPS: that would make every other app ready once more, which some cannot.
    """
    configs = [AppConfig.create(entry) for entry in entries]
    try:
        for config in configs:
            config.apps = apps
            config.models = apps.all_models[config.label]
            apps.app_configs[config.label] = config
        for config in configs:
            config.import_models()
        apps.clear_cache()
        yield
    finally:
        for config in configs:
            apps.app_configs.pop(config.label, None)
        apps.clear_cache()


@pytest.fixture(scope="module")
def other_keepers_tables(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """Both libraries are installed, and have their tables, while a module's tests run.

    So their tables are emptied after each test too.
    """
    theirs = {
        name: getattr(other_keepers, name)
        for name in ("SOCIALACCOUNT_PROVIDERS", "SOCIAL_AUTH_SPOTIFY_KEY")
    }
    with installed(other_keepers.APPS), override_settings(**theirs), django_db_blocker.unblock():
        labels = [entry.rpartition(".")[2] for entry in other_keepers.APPS]
        models = [each for label in labels for each in apps.get_app_config(label).get_models()]
        # Not by their migrations, which take three seconds in each module.
        with database.schema_editor() as editor:
            for each in models:
                editor.create_model(each)
        yield
        with database.schema_editor() as editor:
            for each in reversed(models):
                editor.delete_model(each)


@pytest.fixture
def lanes(spotify: object) -> Iterator[None]:
    """Tokens that are due are refreshed, as by a worker, beside the test."""
    with lanes_beside():
        yield
