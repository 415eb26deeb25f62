"""Programs of Debian's packages, fetched without installing anything."""

import subprocess
from pathlib import Path

import pytest

from dev import debian


@pytest.mark.slow
def test_a_package_is_fetched_once_and_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`hello` is the smallest there is. A second call finds it without asking apt-get."""
    monkeypatch.setattr(debian, "_home", lambda: tmp_path)
    try:
        program = debian.find_or_fetch("hello", package="hello")
    except debian.Unavailable as reason:
        pytest.skip(str(reason))
    monkeypatch.setattr(debian, "_fetch", lambda *_: pytest.fail("fetched again"))

    assert debian.find_or_fetch("hello", package="hello") == program
    said = subprocess.run(
        [program.path], env=program.env, capture_output=True, text=True, check=True
    )
    assert said.stdout == "Hello, world!\n"
    assert not (tmp_path / "hello" / "unfinished").exists()


def test_a_package_that_is_not_there_is_said_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian, "_home", lambda: tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(debian, "_PATH", str(tmp_path))

    with pytest.raises(debian.Unavailable, match="only Debian's apt-get can fetch `pgbouncer`"):
        debian.find_or_fetch("pgbouncer", package="pgbouncer")


def test_a_program_on_path_is_taken_as_it_is() -> None:
    assert debian.find_or_fetch("sh", package="dash").env == {}
