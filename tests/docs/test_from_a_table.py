"""docs/how-to/come-from-a-table-of-your-own.md, followed: the code is the page's."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection as database
from django.utils import timezone

from accounts.models import User
from dev.process import ROOT
from spotify_auth import tokens
from spotify_auth.models import SpotifyToken
from tests.support.imports import Ran, assert_everybody_is_kept, run
from tests.support.lanes import lanes_beside
from tests.support.processes import service_environment
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Connect

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = (ROOT / "docs/how-to/come-from-a-table-of-your-own.md").read_text()
SCRIPTS = dict(re.findall(r"`(\w+\.py)`:\n\n```python\n(.*?)```", PAGE, re.DOTALL))
SHELL = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
NAMES = [f"user-{number}" for number in range(6)]
TABLE = """
CREATE TABLE music_spotifyaccount (
    user_id bigint PRIMARY KEY, access_token text NOT NULL, refresh_token text NOT NULL,
    expires_at timestamptz NOT NULL, scope text NOT NULL, approved_at timestamptz NOT NULL)
"""
INSERT = "INSERT INTO music_spotifyaccount VALUES (%s, %s, %s, now() - interval '1 week', %s, %s)"


@pytest.fixture
def users(
    spotify: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[User]]:
    """Users whose tokens are in the table that the page tells of."""
    monkeypatch.chdir(tmp_path)
    for name, code in SCRIPTS.items():
        Path(name).write_text(code)
    users = []
    with database.cursor() as cursor:
        cursor.execute(TABLE)
        for name, answer in spotify.connect(NAMES).items():
            user = User.objects.create(username=name, account_id=answer["account_id"])
            pair = (answer["access_token"], answer["refresh_token"])
            cursor.execute(INSERT, [user.pk, *pair, answer["scope"], timezone.now()])
            users.append(user)
        yield users
        cursor.execute("DROP TABLE music_spotifyaccount")


def follow(block: str) -> list[Ran]:
    """Type the lines of a block of the page; what the commands of ours said."""
    said = []
    for line in block.splitlines():
        words = shlex.split(line.replace('"$SPOTIFY_CLIENT_ID"', settings.SPOTIFY_CLIENT_ID))
        match words:
            case ["python", "manage.py", "shell", "-v0", "<", script]:
                # As Django's shell does with what it reads, without another process.
                exec(compile(Path(script).read_text(), script, "exec"), {})  # noqa: S102
            case ["python", "manage.py", "tokens", *arguments]:
                said.append(run(*arguments))
            case ["shred", *_]:
                subprocess.run(words, check=True)
            case _:
                raise AssertionError(f"nobody knows how to follow {line!r}")
    return said


def living() -> int:
    """How many refresh tokens are in the table."""
    with database.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM music_spotifyaccount WHERE refresh_token <> ''")
        count: int = cursor.fetchone()[0]
    return count


def test_there_by_a_file_and_back(spotify: Sandbox, users: list[User]) -> None:
    rehearse, move, erase, _, export, read, remove = SHELL

    with lanes_beside():
        (rehearsed,) = follow(rehearse)
        assert (rehearsed.code, "       6  would be moved" in rehearsed.said) == (0, True)
        assert not SpotifyToken.objects.exists()
        (moved,) = follow(move)
    assert (moved.code, "       6  moved" in moved.said) == (0, True)
    assert Path("tokens.csv").stat().st_mode & 0o777 == 0o600
    # This one in a shell, with the documents between its lines.
    (Path("manage.py")).write_text((ROOT / "manage.py").read_text())
    env = service_environment(spotify_url=spotify.url, redis_url=settings.REDIS_URL)
    there = Path(sys.executable).parent
    env |= {"PYTHONPATH": str(ROOT), "PATH": f"{there}:{env['PATH']}"}
    subprocess.run(["/bin/bash", "-e", "-c", erase], env=env, check=True, capture_output=True)
    assert (living(), Path("tokens.csv").exists()) == (0, False)
    assert tokens.access_token_for(SpotifyToken.objects.filter(generation=2)[0].pk)

    rehearsed, handed_over = follow(export)
    assert "       6  would be handed over" in rehearsed.said
    assert handed_over.said.endswith("Done.\n")
    follow(read)
    assert living() == 6
    follow(remove)

    assert not Path("back.csv").exists()
    assert not SpotifyToken.objects.filter(refresh_token__isnull=False).exists()
    with database.cursor() as cursor:
        cursor.execute("SELECT refresh_token FROM music_spotifyaccount")
        assert all(spotify.refresh(token).ok for (token,) in cursor.fetchall())


def test_users_without_a_row_are_named_on_the_way_back(
    spotify: Sandbox, users: list[User], connect: Connect
) -> None:
    connected_here = [connect(name, due=False).pk for name in ("user-8", "user-9")]
    *_, script, export, read, _ = SHELL
    follow(script)
    follow(export)

    with pytest.raises(SystemExit) as ended:
        follow(read)
    assert {f"{pk}" for pk in connected_here} == set(re.findall(r"\d+", str(ended.value)))

    assert (living(), Path("back.csv").exists()) == (0, True)


def test_there_by_a_script(spotify: Sandbox, users: list[User]) -> None:
    follow(SHELL[3])

    assert living() == 0
    due = SpotifyToken.objects.values_list("due_at", flat=True)
    assert len(set(due)) == 6
    assert_everybody_is_kept(spotify, users)
