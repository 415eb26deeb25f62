"""`manage.py tokens rotate-keys`: what it says, when it is done, and that it may be killed."""

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from signal import Signals

import pytest
from django.core.management import CommandError, call_command
from django.db import connection as database
from django.db.models.functions import Now
from pytest_django import Settings

from accounts.models import User
from dev.process import ROOT, free_port
from spotify_auth import connections
from spotify_auth.encryption import Cipher
from spotify_auth.maintenance import key_counts
from spotify_auth.models import SpotifyToken
from tests.support.keys import NEW, OLD, in_base64, keys
from tests.support.lanes import refresh_next
from tests.support.processes import service_environment, wait_for
from tests.support.tokens import Connect, make_due, token_of

pytestmark = pytest.mark.django_db(transaction=True)

LOST = b"l" * 32
MANY = 2000
"""Four batches."""


def key_id(key: bytes) -> str:
    return Cipher([key]).current_head[1:].hex()


def rotate(*arguments: str) -> str:
    """What the command writes. Raises CommandError."""
    out = StringIO()
    call_command("tokens", "rotate-keys", *arguments, stdout=out)
    return out.getvalue()


def test_it_shows_the_counts_and_the_progress_and_is_done(connect: Connect) -> None:
    with keys(OLD):
        connect(due=False)

    with keys(NEW, OLD):
        said = rotate()

    before, after = said.split("rotate-keys: 1 of 1 rows, ")
    for column in ("access_token", "refresh_token"):
        line = rf"spotify_auth_spotifytoken\.{column} +"
        assert re.search(rf"{line}{key_id(OLD)} \(retired\) +1\n", before)
        assert re.search(rf"{line}{key_id(NEW)} \(first\) +1\n", after)
    assert key_id(OLD) not in after
    assert "Done. Every value is under the first key" in after


def test_the_check_counts_and_changes_nothing(connect: Connect) -> None:
    with keys(OLD):
        connect(due=False)

    with keys(NEW, OLD):
        with pytest.raises(CommandError, match="Not done: 2 values are not under the first key"):
            rotate("--check")
        assert key_counts.count().rows_to_do == 1
        rotate()
        assert "Done." in rotate("--check")


def test_without_tokens_it_is_done() -> None:
    with keys(NEW):
        assert "nothing is stored" in rotate()


def test_it_is_not_done_while_a_value_is_under_a_lost_key(connect: Connect) -> None:
    with keys(LOST):
        user = connect(due=False)

    with keys(NEW, OLD):
        with pytest.raises(CommandError) as raised:
            rotate()
        said = str(raised.value)
        assert "Not done: 2 values" in said
        assert "Put their key back" in said
        assert "revoke these tokens in the admin" in said

        connections.revoke(user_id=user.pk)
        assert "Done." in rotate()


def test_it_names_the_users_whose_values_no_key_opens(connect: Connect) -> None:
    with keys(LOST):
        user = connect(due=False)
    out = StringIO()

    with keys(NEW, OLD), pytest.raises(CommandError):
        call_command("tokens", "rotate-keys", stdout=out)

    assert f"user or row {user.pk}: spotify_auth_spotifytoken.access_token.{user.pk}" in (
        out.getvalue()
    )
    assert f"encrypted with key {key_id(LOST)}, which TOKEN_ENCRYPTION_KEYS lacks" in out.getvalue()


def test_a_database_that_is_lost_is_one_line(settings: Settings) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"

    with keys(NEW), pytest.raises(CommandError, match=r"Redis failed \(\w+\). What was done is"):
        rotate()


def test_an_unknown_subcommand_is_an_error() -> None:
    with pytest.raises(CommandError, match="invalid choice"):
        call_command("tokens", "polish")


@pytest.fixture
def many(connect: Connect, spotify: object) -> Iterator[None]:
    """Many tokens under the old key; the second batch waits as long as a `held_up` lasts."""
    people = User.objects.bulk_create(User(account_id=f"many-{n}") for n in range(MANY))
    with keys(OLD):
        SpotifyToken.objects.bulk_create(
            SpotifyToken(
                user=person,
                access_token="a",
                refresh_token="r",
                **dict.fromkeys(
                    ("authorized_at", "reauthorize_by", "refreshed_at", "expires_at", "due_at"),
                    Now(),
                ),
            )
            for person in people
        )
    with database.cursor() as cursor:
        cursor.execute(
            """
            CREATE SEQUENCE batches;
            CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF nextval('batches') = 2 THEN PERFORM pg_advisory_xact_lock_shared(1); END IF;
                RETURN NULL;
            END $$;
            CREATE TRIGGER wait BEFORE UPDATE ON spotify_auth_spotifytoken
            FOR EACH STATEMENT EXECUTE FUNCTION wait()
            """
        )
        yield
        cursor.execute("DROP TRIGGER wait ON spotify_auth_spotifytoken")
        cursor.execute("DROP FUNCTION wait; DROP SEQUENCE batches")


@contextmanager
def held_up() -> Iterator[None]:
    """Only the first batch comes through."""
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(1)")
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(1)")


def start(settings: Settings, **how: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "manage.py", "tokens", "rotate-keys"],
        env=service_environment(
            spotify_url="http://127.0.0.1:9",
            redis_url=settings.REDIS_URL,
            TOKEN_ENCRYPTION_KEYS=in_base64(NEW, OLD),
        ),
        cwd=ROOT,
        stdout=how.get("stdout", subprocess.PIPE),
        stderr=subprocess.STDOUT,
        text=True,
    )


def rows_to_do() -> int:
    with keys(NEW, OLD):
        return key_counts.count().rows_to_do


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGKILL, -9, ""), (signal.SIGTERM, 1, "Stopped. What was done is done")],
)
def test_it_is_ended_half_way_and_started_again(
    many: None, settings: Settings, number: Signals, code: int, said: str
) -> None:
    with held_up():
        first = start(settings)
        wait_for(lambda: rows_to_do() < MANY, what="a batch to be done")
        first.send_signal(number)
    output, _ = first.communicate(timeout=60)

    assert first.returncode == code
    assert said in output
    assert "Traceback" not in output
    # Whole batches: nothing of one that was cut off.
    assert 0 < rows_to_do() < MANY
    assert rows_to_do() % 500 == 0

    second = start(settings)
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 0, output
    assert "Done." in output
    assert rows_to_do() == 0
    with keys(NEW):
        assert {token.refresh_token for token in SpotifyToken.objects.all()} == {"r"}


@pytest.mark.slow
def test_on_a_terminal_there_is_a_bar(many: None, settings: Settings) -> None:
    ours, theirs = pty.openpty()
    with held_up():
        running = start(settings, stdout=theirs)
        os.close(theirs)
        wait_for(lambda: rows_to_do() < MANY, what="a batch to be done")
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:
        pass  # the other end is closed
    finally:
        os.close(ours)

    assert running.wait(timeout=60) == 0
    assert re.search(rb"rotate-keys +\[#+-+\] +\d+/2000", shown)


def test_lanes_go_on_with_what_it_leaves(connect: Connect) -> None:
    with keys(OLD):
        user = connect(due=False)
    with keys(NEW, OLD):
        rotate()

    with keys(NEW):
        make_due(user)
        refresh_next()
        assert token_of(user).generation == 2
