"""Probes: what they answer, and to whom they say why."""

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.models import User
from spotify_auth import chores, health
from spotify_auth.models import Chore, SpotifyToken
from tests.support.admin import enter_admin
from tests.support.database_faults import locked_elsewhere
from tests.support.processes import wait_for
from tests.support.tokens import Connect, Elsewhere, waiting_for_a_lock

pytestmark = pytest.mark.django_db

TOKEN = "a-token-for-operators"
BY_TOKEN = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture(autouse=True)
def figures_of_this_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "LOOK_AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(health, "REST", 0)
    monkeypatch.setitem(health.CHECKS, "freshness", health.FreshnessCheck())


@pytest.fixture
def swept() -> Chore:
    return Chore.objects.create(name=chores.SWEEP, done_at=Now())


@pytest.fixture
def operator(settings: Settings) -> Client:
    settings.OPERATIONS_TOKEN = TOKEN
    return Client(headers={**BY_TOKEN, "host": "10.1.2.3:8000"})


def expire(*users: User) -> None:
    SpotifyToken.objects.filter(pk__in=[user.pk for user in users]).update(
        due_at=Now() - timedelta(seconds=60), expires_at=Now() - timedelta(seconds=1)
    )


@pytest.mark.parametrize("address", ["/livez", "/readyz"])
def test_a_probe_needs_no_host_no_session_and_no_https(
    settings: Settings, swept: Chore, address: str
) -> None:
    settings.SECURE_SSL_REDIRECT = True

    answer = Client(headers={"host": "10.1.2.3:8000"}).get(address)

    assert (answer.status_code, answer.content) == (200, b"ok\n")
    assert "no-store" in answer["Cache-Control"]
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert not answer.cookies


def test_ready_means_that_sweeps_come(client: Client, operator: Client, swept: Chore) -> None:
    assert client.get("/readyz").status_code == 200

    Chore.objects.update(done_at=Now() - timedelta(seconds=31))

    assert (client.get("/readyz").status_code, client.get("/readyz").content) == (
        503,
        b"not ready\n",
    )
    assert client.get("/readyz?exclude=sweep").status_code == 200
    assert client.get("/livez").status_code == 200
    answer = operator.get("/readyz?verbose&exclude=sweeps&exclude=redis").json()
    assert answer["unknown_excludes"] == ["sweeps"]
    checks = answer["checks"]
    assert [name for name, check in checks.items() if not check["ok"]] == ["sweep"]
    assert "redis" not in checks
    assert "is a worker running" in checks["sweep"]["detail"]


def test_ready_means_that_users_are_fresh(
    client: Client, operator: Client, connect: Connect, swept: Chore
) -> None:
    users = [connect(f"user-{number}", due=False) for number in range(5)]
    expire(users[0])
    assert client.get("/readyz").status_code == 200  # one row is no outage

    expire(*users[:2])

    assert client.get("/readyz").status_code == 503
    answer = operator.get("/readyz?verbose").json()
    assert not answer["ready"]
    assert answer["checks"]["freshness"]["detail"].startswith("2 of 5 connected users")
    SpotifyToken.objects.update(suspected_at=Now())  # Spotify refused them: restart nothing
    assert client.get("/readyz").status_code == 200


def test_many_probes_cost_postgresql_one_look(
    client: Client, swept: Chore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "LOOK_AGAIN_SECONDS", 60.0)

    with CaptureQueriesContext(connection) as queries:
        answers = [client.get("/readyz").status_code for _ in range(5)]

    assert answers == [200] * 5
    assert sum("WITH troubled" in query["sql"] for query in queries.captured_queries) == 1


@pytest.mark.django_db(transaction=True)
def test_figures_that_are_slow_are_asked_for_less_often(
    client: Client, swept: Chore, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "REST", 10**6)
    with locked_elsewhere("LOCK TABLE spotify_auth_spotifytoken IN ACCESS EXCLUSIVE MODE"):
        first = elsewhere(client.get, "/readyz?exclude=migrations")
        wait_for(waiting_for_a_lock, what="the figures to wait for the table")
    assert first.result()

    with CaptureQueriesContext(connection) as queries:
        client.get("/readyz")

    assert not any("WITH troubled" in query["sql"] for query in queries.captured_queries)


def test_migrations_that_are_missing(
    client: Client, swept: Chore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db.migrations.recorder import MigrationRecorder

    monkeypatch.setitem(health.CHECKS, "migrations", health.MigrationCheck())
    recorded = MigrationRecorder.Migration.objects.filter(app="spotify_auth").latest("id")
    recorded.delete()

    assert client.get("/readyz").status_code == 503


def test_only_operators_are_told_more(
    client: Client, connect: Connect, operator: Client, swept: Chore
) -> None:
    assert client.get("/readyz?verbose").content == b"ok\n"
    for wrong in ("Bearer x", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}", "Bearer"):
        told = client.get("/readyz?verbose", headers={"authorization": wrong})
        assert told.content == b"ok\n"
    told = client.get("/readyz?verbose", headers={"authorization": f"bearer {TOKEN}"})
    assert told.json()["ready"]
    assert operator.get("/readyz?verbose").json()["ready"]

    user = connect(due=False)
    client.force_login(user)
    assert client.get("/readyz?verbose").content == b"ok\n"
    User.objects.update(is_staff=True)
    assert client.get("/readyz?verbose").content == b"ok\n"  # logged in with Spotify alone
    enter_admin(client, user)
    assert client.get("/readyz?verbose").json()["ready"]


def test_without_a_token_nobody_is_an_operator(client: Client, swept: Chore) -> None:
    answer = client.get("/readyz?verbose", headers={"authorization": "Bearer "})

    assert answer.content == b"ok\n"


@pytest.mark.parametrize("address", ["/livez", "/readyz"])
def test_a_head_is_answered(client: Client, swept: Chore, address: str) -> None:
    assert client.head(address).status_code == 200


def test_nothing_else_is_asked(client: Client) -> None:
    assert client.post("/readyz").status_code == 405
