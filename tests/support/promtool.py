"""Prometheus's own judge of metrics and rules. Where PATH has none, Debian's package is fetched."""

import functools
import subprocess

import pytest

from dev import debian


@functools.cache
def _program() -> debian.Program:
    try:
        return debian.find_or_fetch("promtool", package="prometheus")
    except debian.Unavailable as reason:
        pytest.fail(f"promtool is needed: {reason}")


def promtool(*arguments: object, given: str = "") -> str:
    """What it says; the test fails if it is not content."""
    content, said = judged(*arguments, given=given)
    assert content, said
    return said


def judged(*arguments: object, given: str = "") -> tuple[bool, str]:
    """Whether it is content, and what it says."""
    program = _program()
    ended = subprocess.run(
        [program.path, *map(str, arguments)],
        input=given,
        env={"HOME": "/", **program.env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    )
    return ended.returncode == 0, ended.stdout
