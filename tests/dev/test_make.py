"""The Makefile in a fresh clone."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from dev.process import ROOT

make = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")


def run(directory: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(shutil.which("make")), *arguments],
        cwd=directory,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    directory = tmp_path / "a clone"
    shutil.copytree(ROOT / "dev", directory / "dev")
    shutil.copytree(ROOT / "requirements", directory / "requirements")
    shutil.copy(ROOT / "Makefile", directory)
    return directory


@make
def test_lists_its_targets(clone: Path) -> None:
    listed = run(clone).stdout

    for target in (
        "run",
        "manage",
        "test",
        "test-fast",
        "lint",
        "bench",
        "simulate",
        "soak",
        "sbom",
        "clean",
        "help",
    ):
        assert f"  make {target} " in listed


@make
def test_another_python_is_refused_in_one_line(clone: Path) -> None:
    ended = run(clone, "run", "PYTHON=/no/such/python")

    assert ended.stdout.startswith("CPython 3.11 is needed")
    assert ended.stdout.count("\n") == 1
    assert not (clone / ".venv").exists()


@make
def test_a_python3_that_is_3_11_will_do(clone: Path, tmp_path: Path) -> None:
    # Like the shim of a version manager that has no such version.
    shims = tmp_path / "shims"
    shims.mkdir()
    for name, body in (("python3.11", "exit 127"), ("python3", "exit 0")):
        (shims / name).write_text(f"#!/bin/sh\n{body}\n")
        (shims / name).chmod(0o755)

    planned = run(clone, "--dry-run", "run", PATH=f"{shims}:{os.environ['PATH']}").stdout

    assert f'"{shims}/python3" -m venv' in planned


@make
@pytest.mark.parametrize(
    ("target", "arguments", "command"),
    [
        ("test-fast", "tests/accounts -x", "-m dev.test --fast tests/accounts -x"),
        ("manage", 'shell -c "1 + 1"', '-m dev.manage shell -c "1 + 1"'),
    ],
)
def test_arguments_are_passed_on(clone: Path, target: str, arguments: str, command: str) -> None:
    planned = run(clone, "--dry-run", target, f"ARGS={arguments}", PATH=os.environ["PATH"])

    assert command in planned.stdout


@make
def test_clean_removes_what_the_others_made(clone: Path) -> None:
    for name in (".venv", ".venv-bench", ".local", "staticfiles", "accounts/__pycache__"):
        (clone / name).mkdir(parents=True)
    (clone / ".env").touch()

    ended = run(clone, "clean")

    assert (ended.returncode, ended.stderr) == (0, "")
    left = {path.name for path in clone.iterdir()}
    assert left == {"dev", "requirements", "Makefile", ".env", "accounts"}
    assert not list(clone.rglob("__pycache__"))
