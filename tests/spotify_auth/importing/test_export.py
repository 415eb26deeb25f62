"""The way back: tokens are handed over, kept here no longer, and may come home again."""

import csv
import fcntl
import os
import pty
import signal
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connection as database
from django.db.models.functions import Now
from django.utils import timezone

from accounts.models import User
from dev.process import ROOT
from spotify_auth import tokens
from spotify_auth.importing.csv_file import COLUMNS
from spotify_auth.models import SpotifyToken, TokenEvent
from spotify_auth.refresh import attempts
from tests.support.database_faults import locked_elsewhere, sessions_of
from tests.support.imports import (
    CLIENT,
    InAllauth,
    InSocialAuth,
    Place,
    assert_everybody_is_kept,
    counts,
    model,
    run,
)
from tests.support.lanes import refresh_next
from tests.support.processes import service_environment, wait_for
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Connect, make_due, token_of

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("other_keepers_tables"),
]
NAMES = [f"user-{number}" for number in range(7)]


@pytest.mark.parametrize("place_of", [InAllauth, InSocialAuth])
def test_there_and_back_and_there_again(
    spotify: Sandbox, tmp_path: Path, lanes: None, place_of: type[Place]
) -> None:
    place = place_of(tmp_path)
    users = place.fill(spotify, NAMES)
    run("import", *place.arguments, "--apply")
    arguments = ("export", "--to", place.source)
    # Somebody who logged in here has no place there.
    stranger = User.objects.create(username="stranger")
    SpotifyToken.objects.create(
        user=stranger,
        access_token="a",
        refresh_token="r",
        **dict.fromkeys(("authorized_at", "reauthorize_by", "refreshed_at", "expires_at"), Now()),
        due_at=Now() + timedelta(hours=1),
    )

    rehearsed = run(*arguments)
    assert "       7  would be handed over" in rehearsed.said
    assert f"user {stranger.pk}: the user has no" in rehearsed.said
    assert (place.left(), rehearsed.code) == (0, 3)
    done = run(*arguments, "--apply")

    assert (done.code, "       7  handed over" in done.said) == (3, True)
    assert place.left() == 7
    assert set(SpotifyToken.objects.values_list("status", flat=True)) == {"active", "disconnected"}
    with pytest.raises(tokens.NotConnected):
        tokens.access_token_for(users[0].pk)
    event = TokenEvent.objects.filter(user=users[0]).first()
    assert event
    assert (event.outcome, event.reason) == ("disconnected", f"handed to {place.source}")
    # Those who come again are not held for users who have disconnected.
    report = counts(*place.arguments, "--apply")
    assert (report["moved"], place.left()) == (7, 0)
    assert_everybody_is_kept(spotify, users)
    said = rehearsed.said + done.said + str(report)
    assert not any(secret in said for secret in place.secrets)


@pytest.mark.parametrize(
    "kept",
    [
        {},  # its Spotify backend stores no expiry by itself
        {"expires": 1},
        {"auth_time": 1, "expires_in": 1},
        {"auth_time": 1, "expires_in": 1, "expires": 1},
    ],
)
def test_social_auth_keeps_the_expiry_that_it_kept_before(
    connect: Connect, kept: dict[str, int]
) -> None:
    """Another one is never renewed by its refreshes: each page would refresh the token again."""
    user = connect(due=False)
    auth = model("social_django", "UserSocialAuth").objects.create(
        user=user, provider="spotify", uid="user-1", extra_data=kept
    )
    expires_at = token_of(user).expires_at

    assert run("export", "--to", "social-auth", f"pk:{user.pk}", "--apply").code == 0

    auth.refresh_from_db()
    assert set(auth.extra_data) - {"access_token", "refresh_token", "token_type"} == set(kept)
    left = auth.expiration_timedelta()
    assert (left is None) == (not kept)
    if left is not None:
        assert abs(timezone.now() + left - expires_at) < timedelta(seconds=5)
    assert not auth.access_token_expired()


def test_what_a_library_reads_is_right(spotify: Sandbox, connect: Connect) -> None:
    user = connect(due=False)
    account = model("socialaccount", "SocialAccount").objects.create(
        user=user, provider="spotify", uid="user-1"
    )
    auth = model("social_django", "UserSocialAuth").objects.create(
        user=user, provider="spotify", uid="user-1", extra_data={"expires": 1, "colour": "blue"}
    )
    before = token_of(user)
    refresh_token, expires_at = before.refresh_token, before.expires_at

    assert run("export", "--to", "social-auth", f"pk:{user.pk}", "--apply").code == 0

    auth.refresh_from_db()
    assert auth.extra_data["refresh_token"] == refresh_token
    assert auth.extra_data["colour"] == "blue"
    left = auth.expiration_timedelta()
    assert abs(timezone.now() + left - expires_at) < timedelta(seconds=5)
    counts("--from", "social-auth")
    SpotifyToken.objects.filter(pk=user.pk).delete()
    connect(due=False)
    assert run("export", "--to", "allauth", "--apply").code == 0
    token = model("socialaccount", "SocialToken").objects.get(account=account)
    assert (token.app, spotify.refresh(token.token_secret).ok) == (None, True)


def test_tokens_go_to_the_account_that_they_are_of(spotify: Sandbox, connect: Connect) -> None:
    user = connect(due=False)
    kept = token_of(user)
    refresh_token, account_id = kept.refresh_token, user.account_id
    account = model("socialaccount", "SocialAccount").objects
    auth = model("social_django", "UserSocialAuth").objects
    ids = [account_id, "another", None]  # the newest comes last
    theirs = {"user": user, "provider": "spotify"}
    for name in ids:
        noted = {"account_id": name} if name else {}
        account.create(**theirs, uid=f"{name}", extra_data=noted)
        auth.create(**theirs, uid=f"{name}", extra_data=noted)

    assert run("export", "--to", "allauth", "--apply").code == 0
    token = model("socialaccount", "SocialToken").objects.get()
    assert token.account.extra_data == {"account_id": account_id}
    SpotifyToken.objects.all().delete()
    connect(due=False)
    assert run("export", "--to", "social-auth", "--apply").code == 0
    (row,) = auth.filter(extra_data__has_key="refresh_token")
    assert row.extra_data["account_id"] == account_id
    assert token.token_secret == refresh_token
    # What is known to be another account's is no place for it.
    SpotifyToken.objects.all().delete()
    connect(due=False)
    for rows in (account, auth):
        rows.exclude(uid="another").delete()
    for name in ("allauth", "social-auth"):
        for more in ((), ("--apply",)):
            assert "of this Spotify account there" in run("export", "--to", name, *more).said
    assert token_of(user).status == "active"


def exported(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_into_a_file_that_only_its_owner_reads(
    spotify: Sandbox, connect: Connect, lanes: None, tmp_path: Path
) -> None:
    users = [connect(name, due=False) for name in NAMES]
    path = tmp_path / "back.csv"
    arguments = ("export", "--to", "csv", "--file", str(path))

    assert "       7  would be handed over" in run(*arguments).said
    assert not path.exists()
    assert run(*arguments, "--apply").code == 0

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {int(row["user"]) for row in exported(path)} == {user.pk for user in users}
    assert [each.name for each in tmp_path.iterdir()] == ["back.csv"]
    assert not SpotifyToken.objects.filter(access_token__isnull=False).exists()
    # And home again.
    moved = counts("--from", "csv", "--file", str(path), *CLIENT, "--apply")
    assert (moved["moved"], moved["approval_unknown"]) == (7, 0)
    assert_everybody_is_kept(spotify, users)


def test_no_other_file_is_written_into(connect: Connect, tmp_path: Path) -> None:
    user = connect(due=False)
    foreign, public, link = (tmp_path / name for name in ("foreign", "public", "link"))
    foreign.write_text("my diary\n")
    foreign.chmod(0o600)
    public.write_text("")
    public.chmod(0o644)
    link.symlink_to(foreign)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    ours, theirs = pty.openpty()
    terminal = os.ttyname(theirs)
    try:
        for path in (foreign, public, link, fifo, terminal, tmp_path / "no" / "where"):
            ran = run("export", "--to", "csv", "--file", str(path), "--apply")
            assert (ran.code, "--file" in ran.message) == (1, True), path
    finally:
        os.close(ours)
        os.close(theirs)

    assert foreign.read_text() == "my diary\n"
    assert token_of(user).refresh_token


def test_another_export_comes_and_goes_before_the_file_is_locked(
    spotify: Sandbox, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = connect("user-1", due=False)
    arguments = ("export", "--to", "csv", "--file", str(tmp_path / "back.csv"), "--apply")
    run(*arguments)
    second = connect("user-2", due=False)

    lock = fcntl.flock

    def lock_late(file: Any, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        assert run(*arguments).code == 0
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    ran = run(*arguments)

    assert (ran.code, "written by another export" in ran.message) == (1, True)
    rows = exported(tmp_path / "back.csv")
    assert [int(row["user"]) for row in rows] == [first.pk, second.pk]


def test_of_a_damaged_file_no_copy_is_left(connect: Connect, tmp_path: Path) -> None:
    path = tmp_path / "back.csv"
    path.write_text(f"{','.join(COLUMNS)}\n1,a,r,,,,\nnobody,a,r,,,,\n")
    path.chmod(0o600)

    ran = run("export", "--to", "csv", "--file", str(path), "--apply")

    assert (ran.code, "damaged" in ran.message) == (1, True)
    assert list(tmp_path.iterdir()) == [path]


def test_a_newer_pair_may_exist_and_a_lane_may_be_at_it(
    spotify: Sandbox, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spotify_auth.exporting.run.longest_exchange", lambda deadline: 0.3)
    in_doubt, locked, fine = (connect(name, due=False) for name in NAMES[:3])
    mark, _ = attempts.names_of(in_doubt.pk, 1)
    path = tmp_path / "back.csv"
    arguments = ("export", "--to", "csv", "--file", str(path), "--apply")
    with (
        redis.Redis.from_url(settings.REDIS_URL) as client,
        locked_elsewhere(
            "SELECT FROM spotify_auth_spotifytoken WHERE user_id = %s FOR UPDATE", locked.pk
        ),
    ):
        client.set(mark, "begun somewhere")
        ran = run(*arguments)
        assert (ran.code, "2 are being refreshed" in ran.message) == (3, True)
        client.delete(mark)

    assert [int(row["user"]) for row in exported(path)] == [fine.pk]
    assert run(*arguments).code == 0
    assert {int(row["user"]) for row in exported(path)} == {in_doubt.pk, locked.pk, fine.pk}


def test_a_kill_between_the_file_and_the_commit(
    spotify: Sandbox, connect: Connect, tmp_path: Path
) -> None:
    users = [connect(name, due=False) for name in NAMES]
    path = tmp_path / "back.csv"
    # PostgreSQL takes its time for the commit, after the lines are on the disk.
    with database.cursor() as cursor:
        cursor.execute(
            """
            CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql
            AS 'BEGIN PERFORM pg_sleep(30); RETURN NULL; END';
            CREATE CONSTRAINT TRIGGER slow AFTER UPDATE ON spotify_auth_spotifytoken
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()
            """
        )
    command = ["tokens", "export", "--to", "csv", "--file", str(path), "--apply"]
    exporting = subprocess.Popen(
        [sys.executable, "manage.py", *command],
        env=service_environment(
            spotify_url=spotify.url, redis_url=settings.REDIS_URL, PGAPPNAME="exporting"
        ),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(
            lambda: path.exists() and len(path.read_bytes().splitlines()) == 8,
            what="the lines to be written",
            seconds=60,
        )
    finally:
        exporting.send_signal(signal.SIGKILL)
        exporting.wait(timeout=30)
        with database.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'exporting'"
            )
            wait_for(lambda: sessions_of("exporting") == 0, what="its session to end")
            cursor.execute("DROP FUNCTION slow() CASCADE")
    assert SpotifyToken.objects.filter(status="active").count() == 7
    # Meanwhile one is refreshed: its line in the file is dead.
    stale = {row["user"]: row["refresh_token"] for row in exported(path)}
    make_due(users[0])
    refresh_next()
    with path.open("ab") as file:
        file.write(b"12,torn")

    assert run(*command[1:]).code == 0

    rows = {row["user"]: row["refresh_token"] for row in exported(path)}
    assert len(exported(path)) == len(rows) == 7
    assert rows[str(users[0].pk)] != stale[str(users[0].pk)]
    assert all(spotify.refresh(token).ok for token in rows.values())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("import", "--from", "csv"), "--file goes with"),
        (("import", "--from", "allauth", "--file", "x"), "--file goes with"),
        (("import", "--from", "csv", "--file", "x", "--directory", "y"), "--directory goes with"),
        (("import", "--from", "allauth", "--spread", "-1"), "--spread must be"),
        (("export", "--to", "csv"), "--file goes with"),
        (("export", "--to", "allauth", "--file", "x"), "--file goes with"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple[str, ...], words: str, db: None) -> None:
    ran = run(*arguments)

    assert (ran.code, words in ran.message) == (2, True)
