"""The secrets of a local run."""

import json
from pathlib import Path

import pytest

from dev import secrets


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(secrets, "FILE", tmp_path / "secrets.json")
    return tmp_path / "secrets.json"


def test_are_made_once_and_kept_private(file: Path) -> None:
    first, second = secrets.local_secrets(), secrets.local_secrets()

    assert first == second
    assert file.stat().st_mode & 0o777 == 0o600


def test_are_made_anew_after_a_first_try_that_was_killed(file: Path) -> None:
    file.with_suffix(".new").write_text('{"SECRET')

    assert len(secrets.local_secrets()["SECRET_KEY"]) > 50


def test_an_older_file_keeps_its_secrets_and_gets_those_that_it_lacks(file: Path) -> None:
    file.write_text('{"SECRET_KEY": "older"}')

    completed = secrets.local_secrets()

    assert completed["SECRET_KEY"] == "older"
    assert len(completed["ADMINISTRATOR_PASSWORD"]) >= 12
    assert json.loads(file.read_text()) == completed
