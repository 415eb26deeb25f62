"""One check that fails, hangs or says too much never spoils the others."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import CommandError
from pytest_django import Settings

from dev.process import ROOT, free_port
from spotify_auth.doctor.examination import all_checks
from spotify_auth.doctor.findings import Check, Finding, ok, problem
from tests.support.doctor import diagnose, doctor
from tests.support.processes import service_environment

_released = threading.Event()


def fails() -> Iterator[Finding]:
    yield ok("What was found before a failure counts.")
    raise ZeroDivisionError("a driver's words about a-very-secret-word")


def hangs() -> Iterator[Finding]:
    _released.wait(30)
    yield ok("Too late.")


def tells() -> Iterator[Finding]:
    yield problem("Logged in with a-very-secret-word.", "Forget a-very-secret-word.")


CHECKS = {
    "FAILS": Check(name="fails", look=fails),
    "HANGS": Check(name="hangs", look=hangs, asks="a server", seconds=0.2),
    "TELLS": Check(name="tells", look=tells),
}
FAILS, HANGS, TELLS = CHECKS.values()


def test_each_check_by_itself(settings: Settings) -> None:
    settings.DOCTOR_CHECKS = [f"{__name__}.{name}" for name in CHECKS]
    settings.SPOTIFY_CLIENT_SECRET = "a-very-secret-word"

    said = diagnose("hangs", "fails", "tells", "redirect-uri")
    _released.set()

    assert [(each["check"], each["level"], each["found"]) for each in said.findings][1:] == [
        ("fails", "ok", "What was found before a failure counts."),
        (
            "fails",
            "problem",
            "The check itself failed. ZeroDivisionError: a driver's words about ********",
        ),
        ("hangs", "problem", "No answer within 0.2 s."),
        ("tells", "problem", "Logged in with ********."),
    ]
    assert said.findings[-1]["advice"] == "Forget ********."


@pytest.mark.django_db(transaction=True)
def test_a_new_installation_with_nothing_but_an_empty_database(
    tmp_path: Path, django_db_setup: None
) -> None:
    """Each check has its line, in the process that an operator starts."""
    secret = tmp_path / "secret"
    secret.write_text("a-secret-in-a-file")
    password = "a-password-of-redis"
    env = service_environment(
        spotify_url=f"http://127.0.0.1:{free_port()}",
        redis_url=f"redis://:{password}@127.0.0.1:{free_port()}/0",
        SPOTIFY_CLIENT_SECRET="",
        SPOTIFY_CLIENT_SECRET_FILE=str(secret),
    )
    env["DATABASE_URL"] = env["DATABASE_URL"].rpartition("/")[0] + "/postgres"

    ended = subprocess.run(
        [sys.executable, "manage.py", "doctor"],
        env={**env, "COLUMNS": "80"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 1
    lines = ended.stdout.splitlines()
    levels = {line[9:21].strip(): line[:8].strip() for line in reversed(lines) if line[:1] > " "}
    wrong = {name for name, level in levels.items() if level == "problem"}
    assert wrong >= {"migrations", "redis", "queues", "workers", "sweep", "keys", "credentials"}
    assert levels["postgresql"] == levels["settings"] == "ok"
    assert "SPOTIFY_CLIENT_SECRET=set, from a file" in ended.stdout
    assert "The broker does not answer." in ended.stdout
    assert "The check itself failed" not in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr
    said = ended.stdout + ended.stderr
    for secret_word in ("a-secret-in-a-file", password, os.environ["SECRET_KEY"]):
        assert secret_word not in said


def test_each_check_is_explained() -> None:
    page = (ROOT / "docs/how-to/use-the-doctor.md").read_text()
    explained = re.findall(r"^\| `([a-z][a-z-]+)` \|", page, re.MULTILINE)

    assert explained == [check.name for check in all_checks()]


def test_what_is_chosen_is_shown_and_nothing_else() -> None:
    assert doctor("--only", "redirect-uri", "--quiet").text == ""
    assert "redirect-uri" not in doctor("--only", "site", "--skip", "redirect-uri").text
    assert doctor("--only", "redirect-uri").text.endswith("\nAll is well.\n")
    with pytest.raises(CommandError, match="leave no check"):
        doctor("--only", "credentials", "--offline")
