"""The tables of allauth and social-auth, made by their own migrations, and lanes that refresh."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest
from django.apps import AppConfig, apps
from django.core.management import call_command
from django.db.models.functions import Now
from django.test import override_settings
from pytest_django import DjangoDbBlocker

from spotify_auth.chores import SWEEP
from spotify_auth.models import Chore
from tests.support import other_keepers
from tests.support.background import Background
from tests.support.lanes import refresh_next


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
    """Both libraries are installed, and migrated, for as long as a module's tests run.

    So their tables are emptied after each test too.
    """
    labels = [entry.rpartition(".")[2] for entry in other_keepers.APPS]
    theirs = {
        name: getattr(other_keepers, name)
        for name in ("SOCIALACCOUNT_PROVIDERS", "SOCIAL_AUTH_SPOTIFY_KEY")
    }
    with installed(other_keepers.APPS), override_settings(**theirs), django_db_blocker.unblock():
        for label in labels:
            call_command("migrate", label, verbosity=0)
        yield
        for label in reversed(labels):
            call_command("migrate", label, "zero", verbosity=0)


class _Lanes(Background):
    """A worker's lanes, with its sweeps."""

    def turn(self, thread: int) -> None:
        Chore.objects.update_or_create(name=SWEEP, defaults={"done_at": Now()})
        while refresh_next():
            pass


@pytest.fixture
def lanes(spotify: object) -> Iterator[None]:
    """Tokens that are due are refreshed, as by a worker, beside the test."""
    Chore.objects.update_or_create(name=SWEEP, defaults={"done_at": Now()})
    with _Lanes(threads=1, pause=0.05):
        yield
