"""An import that is killed, and two at once: nothing is lost, and nothing is there twice."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection as database

from dev.process import ROOT
from spotify_auth.connections import database_now
from spotify_auth.freshness import renewal_is_running
from spotify_auth.importing.spotipy_cache import aside_of
from spotify_auth.models import Outcome, SpotifyToken, TokenEvent
from tests.support.database_faults import sessions_of
from tests.support.imports import (
    InAllauth,
    InCacheFiles,
    InCsv,
    Place,
    assert_everybody_is_kept,
    counts,
    run,
)
from tests.support.lanes import sweep_just_now
from tests.support.processes import (
    service_environment,
    teardown_together,
    wait_for,
    worker_process,
)
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Elsewhere

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("other_keepers_tables"),
]
MANY = 1000


@pytest.fixture
def slower_in_the_end(transactional_db: None) -> Iterator[None]:
    """PostgreSQL takes its time once a hundred tokens are stored: a kill is not too late."""
    with database.cursor() as cursor:
        cursor.execute(
            """
            CREATE SEQUENCE stored;
            CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF nextval('stored') > 100 THEN PERFORM pg_sleep(0.05); END IF;
                RETURN NULL;
            END $$;
            CREATE TRIGGER slow AFTER INSERT ON spotify_auth_spotifytoken
            FOR EACH ROW EXECUTE FUNCTION slow()
            """
        )
        yield
        cursor.execute("DROP FUNCTION slow CASCADE; DROP SEQUENCE stored")


@pytest.mark.cluster
def test_a_thousand_a_real_worker_and_a_kill(
    spotify: Sandbox, tmp_path: Path, slower_in_the_end: None
) -> None:
    place = InAllauth(tmp_path)
    place.fill_many(spotify, [f"user-{number}" for number in range(MANY)])
    env = service_environment(
        spotify_url=spotify.url, redis_url=settings.REDIS_URL, REFRESH_SWEEP_SECONDS="0.2"
    )
    worker = worker_process("importing", env=env)
    try:
        worker.ready()
        wait_for(renewal_is_running, what="its first sweep, without beat", seconds=60)
        importing = subprocess.Popen(
            [sys.executable, "manage.py", "tokens", "import", *place.arguments, "--apply"],
            env={
                **env,
                "DJANGO_SETTINGS_MODULE": "tests.support.other_keepers",
                "PGAPPNAME": "importing",
            },
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        wait_for(lambda: SpotifyToken.objects.count() > 100, what="a part to be moved", seconds=60)
        importing.send_signal(signal.SIGKILL)
        said, _ = importing.communicate(timeout=30)
        wait_for(lambda: sessions_of("importing") == 0, what="its session to end")
        with database.cursor() as cursor:
            cursor.execute("DROP TRIGGER slow ON spotify_auth_spotifytoken")
        there = SpotifyToken.objects.count()

        assert 100 < there < MANY
        assert place.left() == MANY - there
        report = counts(*place.arguments, "--apply")

        assert (report["ended"], report["moved"], report["bad"]) == ("done", MANY - there, 0)
        assert report["refreshed"] >= 5
        wait_for(
            lambda: SpotifyToken.objects.filter(generation__gt=1).count() >= 5,
            what="the first five to be refreshed",
        )
        everything = said + str(report) + worker.logs()
    finally:
        teardown_together([worker])

    assert place.left() == 0
    assert SpotifyToken.objects.filter(status="active").count() == MANY
    connected = TokenEvent.objects.filter(outcome=Outcome.CONNECTED)
    assert connected.count() == connected.values("user_id").distinct().count() == MANY
    # Nobody else has presented a token, and none that was replaced.
    assert spotify.summary()["totals"]["reuses_of_dead_token"] == 0
    assert not any(secret in everything for secret in place.secrets)


@pytest.mark.parametrize("place_of", [InAllauth, InCacheFiles, InCsv])
def test_two_at_once(
    spotify: Sandbox,
    tmp_path: Path,
    lanes: None,
    elsewhere: Elsewhere,
    place_of: type[Place],
) -> None:
    place = place_of(tmp_path)
    users = place.fill(spotify, [f"user-{number}" for number in range(30)])

    both = [elsewhere(counts, *place.arguments, "--apply") for _ in range(2)]
    reports: list[Any] = [each.result(timeout=120) for each in both]

    assert [report["ended"] for report in reports] == ["done", "done"]
    assert sum(report["moved"] for report in reports) == 30
    assert sum(report["bad"] for report in reports) == 0
    assert TokenEvent.objects.filter(outcome=Outcome.CONNECTED).count() == 30
    assert place.left() == 0
    assert_everybody_is_kept(spotify, users)


@pytest.mark.parametrize("stored", [False, True], ids=["before it is stored", "once it is stored"])
def test_a_file_that_was_put_aside(
    spotify: Sandbox, tmp_path: Path, lanes: None, stored: bool
) -> None:
    place = InCacheFiles(tmp_path)
    (user,) = place.fill(spotify, ["user-1"])
    path = tmp_path / ".cache-user-1"
    aside = aside_of(path, database_now())
    content = path.read_bytes()
    if stored:
        run("import", *place.arguments, "--apply")
        aside.write_bytes(content)  # as if it had not been deleted yet
    else:
        path.rename(aside)

    assert run("import", *place.arguments).code == 0
    assert aside.exists()  # a rehearsal changes nothing
    report = counts(*place.arguments, "--apply")

    assert report["moved"] == int(not stored)
    assert list(tmp_path.iterdir()) == []
    assert TokenEvent.objects.filter(outcome=Outcome.CONNECTED).count() == 1
    assert_everybody_is_kept(spotify, [user])


def test_a_file_that_another_import_has(spotify: Sandbox, tmp_path: Path, lanes: None) -> None:
    place = InCacheFiles(tmp_path)
    place.fill(spotify, ["user-1"])
    path = tmp_path / ".cache-user-1"
    aside = path.rename(aside_of(path, database_now()))
    with aside.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        assert counts(*place.arguments, "--apply")["moved"] == 0

        assert list(tmp_path.iterdir()) == [aside]
    assert counts(*place.arguments, "--apply")["moved"] == 1


def test_a_file_whose_commit_is_in_doubt_stays_aside(
    spotify: Sandbox, tmp_path: Path, lanes: None
) -> None:
    place = InCacheFiles(tmp_path)
    (user,) = place.fill(spotify, ["user-1"])
    with database.cursor() as cursor:
        cursor.execute(
            """
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
            AS $$BEGIN RAISE 'no'; END$$;
            CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON spotify_auth_spotifytoken
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()
            """
        )
        ran = run("import", *place.arguments, "--apply")
        cursor.execute("DROP FUNCTION refuse() CASCADE")

    assert (ran.code, "PostgreSQL failed" in ran.message) == (1, True)
    (aside,) = tmp_path.iterdir()
    assert aside.name.startswith(".cache-user-1.importing-")
    assert counts(*place.arguments, "--apply")["moved"] == 1
    assert list(tmp_path.iterdir()) == []
    assert_everybody_is_kept(spotify, [user])


def test_sigterm_while_it_waits_for_the_first_five(
    spotify: Sandbox, tmp_path: Path, elsewhere: Elsewhere
) -> None:
    place = InAllauth(tmp_path)
    place.fill(spotify, [f"user-{number}" for number in range(8)])
    sweep_just_now()

    def stop() -> None:
        wait_for(lambda: SpotifyToken.objects.count() == 5, what="the first five to be moved")
        os.kill(os.getpid(), signal.SIGTERM)

    stopping = elsewhere(stop)
    ran = run("import", *place.arguments, "--apply")

    stopping.result(timeout=60)
    assert (ran.code, "Stopped. What was moved is moved" in ran.message) == (3, True)
    assert (SpotifyToken.objects.count(), place.left()) == (5, 3)
