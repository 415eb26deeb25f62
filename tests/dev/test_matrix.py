"""`make test-matrix`: which interpreters it takes, and what its table says."""

from pathlib import Path

import pytest

import noxfile
from dev import matrix


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory in which interpreters are looked for."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def program(path: Path, does: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(0o755)


def test_an_interpreter_that_does_not_start_is_none(path: Path) -> None:
    program(path / "python3.13", "exit 127")  # as pyenv's, for a version that is not chosen
    program(path / "python3.12", "echo 3.9")

    assert matrix.find("3.14") is None
    assert matrix.find("3.13") is None
    assert matrix.find("3.12") is None


def test_what_pyenv_and_uv_have_installed_is_found(path: Path) -> None:
    program(path / "python3.13", "exit 127")
    of_pyenv = path / ".pyenv/versions/3.13.0/bin/python3.13"
    of_uv = path / ".local/share/uv/python/cpython-3.14.1-linux/bin/python3.14"
    program(of_pyenv, "echo 3.13")
    program(of_uv, "echo 3.14")

    assert (matrix.find("3.13"), matrix.find("3.14")) == (of_pyenv, of_uv)


def test_every_cell_has_a_line() -> None:
    cells = [
        {"signatures": ["project(3.11-5.2-oldest)"], "result": "success"},
        {"signatures": ["project(3.13-6.1)"], "result": "failed"},
        {"signatures": ["project(3.14-6.1)"], "result": "skipped"},
    ]

    assert list(matrix.table(cells))[2:] == [
        "| 3.11 | 5.2, and the oldest of all else | passed |",
        "| 3.13 | 6.1 | FAILED |",
        "| 3.14 | 6.1 | not found |",
    ]
    assert {cell.args[0] for cell in noxfile.CELLS} == set(matrix.PYTHONS)
