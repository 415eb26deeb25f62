"""The system checks: each wrong setting has one error with an id and a hint."""

import inspect
from datetime import timedelta

import pytest
from celery.schedules import crontab, schedule
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Tags, run_checks
from django.db import connection, router
from kombu import Queue
from pytest_django import Settings

from spotify_auth import checks, project_checks, scope_checks
from spotify_auth.celery_settings import LANE, SWEEP, TASK_ROUTES, beat_schedule
from spotify_auth.conf import REQUIRED
from spotify_auth.encryption import Cipher
from tests.support.another_database import sqlite_beside
from tests.support.celery_apps import another_app
from tests.support.keys import NEW, OLD, keys
from tests.support.tokens import Connect

KEY = b"k" * 32
DATABASE = django_settings.DATABASES["default"]


def sweep_every(when: object) -> dict[str, object]:
    """An entry of beat's schedule."""
    return {"task": SWEEP, "schedule": when}


def errors() -> list[CheckMessage]:
    """What `manage.py check` says about this app."""
    return [error for error in run_checks() if str(error.id).startswith("spotify_auth.")]


def ids() -> list[str]:
    """Sorted, for Django keeps its checks in a set: their order is another in each process."""
    return sorted(str(error.id).removeprefix("spotify_auth.") for error in errors())


def test_the_settings_of_the_tests_are_in_order() -> None:
    assert errors() == []


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        # 20 % of the lifetime must hold three sweeps and two deadlines
        ("REFRESH_SWEEP_SECONDS", 300, ["E001"]),
        ("ACCESS_TOKEN_LIFETIME_SECONDS", 60, ["E001", "E001"]),
        # readers ask for more life than a token has left when it is due
        ("ACCESS_TOKEN_MINIMUM_SECONDS", 3000, ["E001"]),
        *((name, None, ["E002"]) for name in REQUIRED),
        ("SPOTIFY_REDIRECT_URI", "http://localhost:8000/spotify/callback/", ["E006"]),
        ("SPOTIFY_REDIRECT_URI", "http://127.0.0.1:8000/callback", ["E007"]),
        ("TOKEN_ENCRYPTION_KEYS", [], ["E002"]),
        ("TOKEN_ENCRYPTION_KEYS", [b"short"], ["E003"]),
        ("TOKEN_ENCRYPTION_KEYS", ["k" * 32], ["E003"]),  # text where bytes belong
        ("TOKEN_ENCRYPTION_KEYS", [KEY, KEY], ["E003"]),
        ("TOKEN_ENCRYPTION_KEYS", "not base64!", ["E003"]),
        ("SPOTIFY_BASE_TEMPLATE", "no_such.html", ["E008"]),
        ("USE_TZ", False, ["E009"]),
        ("REFRESH_SWEEP_SECONDS", "10", ["E013"]),  # as the environment has it
        ("REFRESH_LANES", 0, ["E013"]),
        ("RATE_LIMIT_LOGINS", 0, []),  # none
        ("RATE_LIMIT_LOGINS", -1, ["E013"]),
        ("REFRESH_DORMANT_AFTER", True, ["E013"]),
        ("SPOTIFY_API_URL", "https://api.spotify.com/v1", ["E014"]),  # as spotipy has it
        ("SPOTIFY_ACCOUNTS_URL", "http://127.0.0.1:8090/", ["E014"]),
        ("SPOTIFY_ACCOUNTS_URL", "accounts.spotify.com", ["E014"]),
        ("SESSION_COOKIE_SAMESITE", "Strict", ["W009"]),
        ("TRUSTED_PROXIES", ["0.0.0.0/0"], ["E010"]),
        ("SPOTIFY_SCOPES", "user-top-read user-read-email", ["E012"]),  # as spotipy takes it
        ("SPOTIFY_SCOPES", ["user-top-read user-read-email"], ["E012"]),
        ("OPERATIONS_TOKEN", "guess-me", ["W013"]),
        ("OPERATIONS_TOKEN", "geheime-schlüssel-der-wache", ["W013"]),
        ("OPERATIONS_TOKEN", "a-token-of-operators", []),
        ("TOKEN_ENCRYPTION_KEYS", [KEY, b"o" * 32], []),
        ("TOKEN_ENCRYPTION_KEYS", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", []),
    ],
)
def test_a_setting_that_does_not_hold_is_found(
    settings: Settings, name: str, value: object, found: list[str]
) -> None:
    settings.CELERY_BROKER_URL = ""
    setattr(settings, name, value)

    assert ids() == found
    assert all(error.hint for error in errors())
    assert any(name in error.msg for error in errors()) is bool(found)


def test_each_missing_setting_has_a_line_of_its_own(settings: Settings) -> None:
    for name in (*REQUIRED, "CELERY_BROKER_URL"):
        setattr(settings, name, None)

    assert ids() == ["E002"] * len(REQUIRED)


def test_a_malformed_key_is_not_shown(settings: Settings) -> None:
    settings.TOKEN_ENCRYPTION_KEYS = ["a-secret-that-was-pasted-here"]

    assert "pasted" not in str(errors())


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"ENGINE": "django.db.backends.sqlite3"}, ["E005"]),
        ({"ENGINE": ""}, ["E005"]),
        ({"OPTIONS": {"server_side_binding": True}}, ["E004"]),
        ({"OPTIONS": {"server_side_binding": False}}, []),
    ],
)
def test_a_database_that_cannot_hold_the_tokens_is_found(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, object], found: list[str]
) -> None:
    for name, value in change.items():
        monkeypatch.setitem(DATABASE, name, value)

    assert ids() == found
    assert all(error.hint for error in errors())


class Replicas:
    """Reads come from a replica, as in Django's own example of a router."""

    def db_for_read(self, model: object, **hints: object) -> str:
        return "other"

    def db_for_write(self, model: object, **hints: object) -> str:
        return "default"


def test_a_project_with_several_databases_is_told_to_keep_the_tokens_in_the_first(
    settings: Settings,
) -> None:
    with sqlite_beside() as other:
        assert ids() == ["W008"]

        settings.DATABASE_ROUTERS = [Replicas()]
        assert ids() == ["E011", "W008"]
        assert all(error.hint and "spotify_auth.routers" in error.hint for error in errors())

        settings.DATABASE_ROUTERS = ["spotify_auth.routers.DefaultDatabase", Replicas()]
        assert errors() == []
        assert router.db_for_read(get_user_model()) == other


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"beat_schedule": {"nightly": {"task": "music.tidy", "schedule": 60}}}, ["W003"]),
        ({"beat_schedule": {}}, ["W003"]),
        ({"beat_schedule": beat_schedule(5)}, []),
        # REFRESH_SWEEP_SECONDS is 10
        ({"beat_schedule": beat_schedule(11)}, ["W005"]),
        ({"beat_schedule": {"slow": sweep_every(schedule(timedelta(minutes=1)))}}, ["W005"]),
        ({"beat_schedule": {"1": sweep_every(60), "2": sweep_every(timedelta(seconds=9))}}, []),
        ({"beat_schedule": {"at some times": sweep_every(crontab())}}, []),
        ({"task_routes": None}, ["W004"]),
        ({"task_routes": {"spotify_auth.*": {"queue": "keeper"}}}, ["W004"]),
        ({"task_routes": {"spotify_auth.*": "tokens"}}, []),
        ({"task_routes": {LANE: {"queue": Queue("tokens")}}}, []),
        ({"task_routes": TASK_ROUTES}, []),
    ],
)
def test_a_celery_that_refreshes_late_or_holds_up_others_is_a_warning(
    changes: dict[str, object], found: list[str]
) -> None:
    with another_app(**changes) as app:
        known = set(app.amqp.queues)
        warnings = errors()
        # A worker without --queues consumes what it knows, and checks run in it before that.
        assert set(app.amqp.queues) == known

    assert [str(warning.id).removeprefix("spotify_auth.") for warning in warnings] == found
    assert all(warning.hint for warning in warnings)


@pytest.mark.django_db
@pytest.mark.parametrize(("spare", "found"), [(0, []), (-1, ["spotify_auth.W001"])])
def test_more_connections_than_postgresql_takes_are_a_warning(
    settings: Settings, spare: int, found: list[str]
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SHOW max_connections")
        most = int(cursor.fetchone()[0])
        cursor.execute("SHOW superuser_reserved_connections")
        settings.MOST_DATABASE_CONNECTIONS = most - int(cursor.fetchone()[0]) - spare

    warnings = run_checks(tags=[Tags.database], databases=["default"])

    assert [warning.id for warning in warnings] == found


def test_connections_are_counted_when_a_database_is_named_only(settings: Settings) -> None:
    settings.MOST_DATABASE_CONNECTIONS = 10**6

    assert errors() == []


def warnings_of_the_database() -> list[CheckMessage]:
    return run_checks(tags=[Tags.database], databases=["default"])


def test_values_whose_key_is_missing_are_named_with_their_number(connect: Connect) -> None:
    with keys(OLD):
        connect("user-1", due=False)
        connect("user-2", due=False)
    with keys(NEW):
        connect("user-3", due=False)
        access, refresh = warnings_of_the_database()

        assert {access.id, refresh.id} == {"spotify_auth.W002"}
        key = Cipher([OLD]).current_head[1:].hex()
        assert "No key opens 2 values of spotify_auth_spotifytoken.access_token" in access.msg
        assert f"encrypted with key {key}" in refresh.msg
        assert errors() == []  # it reads every row: only when a database is named

    with keys(NEW, OLD):
        assert warnings_of_the_database() == []


@pytest.mark.django_db
def test_before_the_first_migration_there_are_no_values(settings: Settings) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE spotify_auth_spotifytoken RENAME TO not_yet")

    assert warnings_of_the_database() == []


@pytest.mark.django_db
def test_without_usable_keys_they_are_what_is_said(settings: Settings) -> None:
    settings.TOKEN_ENCRYPTION_KEYS = "not base64!"

    assert warnings_of_the_database() == []
    assert ids() == ["E003"]


POOL = {"OPTIONS": {**DATABASE["OPTIONS"], "pool": True}}


@pytest.mark.parametrize(
    ("application", "database", "found"),
    [
        ("project.asgi.application", {"CONN_MAX_AGE": None}, ["W030"]),
        ("project.asgi.application", {"CONN_MAX_AGE": 60}, ["W030"]),
        ("project.asgi.application", {"CONN_MAX_AGE": 0}, []),  # slow, and nothing is left
        ("project.asgi.application", {"CONN_MAX_AGE": 0, **POOL}, []),
        (None, {"CONN_MAX_AGE": None}, []),  # gunicorn's threads keep theirs
    ],
)
def test_asgi_wants_a_pool(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    application: str | None,
    database: dict[str, object],
    found: list[str],
) -> None:
    settings.ASGI_APPLICATION = application
    for name, value in database.items():
        monkeypatch.setitem(django_settings.DATABASES["default"], name, value)

    assert ids() == found


def test_no_hint_names_a_page_that_the_package_does_not_have() -> None:
    modules = (checks, project_checks, scope_checks)

    assert not [module for module in modules if "docs/" in inspect.getsource(module)]
