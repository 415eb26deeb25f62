"""docs/how-to/restore-a-backup.md, followed to the letter with pg_dump and pg_restore."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from django.db import connection as database
from pytest_django import Settings

from dev.postgres import installed_wheel
from dev.process import ROOT
from spotify_auth import connections
from spotify_auth.models import Outcome, SpotifyToken
from tests.support.lanes import refresh_next
from tests.support.processes import service_environment
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Connect, forget, make_due

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

PAGE = ROOT / "docs/how-to/restore-a-backup.md"
COMMANDS = re.findall(r"^ *```sh\n(.*?)```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def run(command: str, env: dict[str, str], *, cwd: Path) -> str:
    ended = subprocess.run(
        ["/bin/sh", "-ec", command], env=env, cwd=cwd, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


def test_the_runbook_shows_spotify_no_token_of_the_backup(
    connect: Connect, spotify: Sandbox, settings: Settings, tmp_path: Path
) -> None:
    assert len(COMMANDS) == 5
    spotify.faults("reuse_revokes_grant")
    people = [connect(f"user-{n}", due=False) for n in range(4)]
    connections.disconnect(user_id=people[0].pk)
    env = service_environment(spotify_url=spotify.url, redis_url=settings.REDIS_URL)
    tools = f"{installed_wheel() / 'pginstall/bin'}:{Path(sys.executable).parent}"
    env |= {"PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    backup_at = connections.database_now().isoformat()
    run('pg_dump --format custom --file backup.dump "$DATABASE_URL"', env, cwd=tmp_path)
    for person in people[1:]:
        make_due(person)
        assert refresh_next() is Outcome.REFRESHED
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        forget(client, "spotify_auth:rescued:*")  # a minute passes
    before = spotify.stats()["totals"]["refreshes_attempted"]
    database.close()

    (tmp_path / "manage.py").symlink_to(ROOT / "manage.py")
    env["BACKUP_AT"] = backup_at
    for command in COMMANDS:
        # There is no terminal to type yes at.
        answered = re.sub(
            r'(after-restore --backup-at "\$BACKUP_AT")$', r"\1 --yes", command.strip()
        )
        run(answered, env, cwd=tmp_path)

    assert sorted(SpotifyToken.objects.values_list("status", "last_error")) == [
        ("disconnected", ""),
        *[("reconnect_required", "backup_restored")] * 3,
    ]
    assert refresh_next() is None
    assert spotify.stats()["totals"]["refreshes_attempted"] == before
    assert spotify.stats()["totals"]["reuses_of_dead_token"] == 0
