"""A guide, followed to the letter: its code goes into the project, its commands are run."""

import json
import re
import shlex
import subprocess
from pathlib import Path

from dev.process import ROOT
from tests.support.standalone import Project

_BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([\w/]+\.py)\n")
_OF_THE_PROJECT = re.compile(r"settings\.py|urls\.py|views\.py|management/.+")
_EVERYBODY = """
DELETE FROM spotify_auth_spotifytoken; DELETE FROM django_session;
DELETE FROM socialaccount_socialtoken; DELETE FROM socialaccount_socialaccount;
DELETE FROM social_auth_usersocialauth;
"""
# One start of Python for several commands.
_RUN = """
import json, sys
from django.core.management import execute_from_command_line
for command in json.loads(sys.argv[1]):
    execute_from_command_line(command)
"""


def apply_code(guide: str, home: Path, *, package: str) -> None:
    """Append each block of Python to the file that its first line names, or make that file."""
    blocks = _blocks(guide, "python")
    assert blocks, guide
    for code in blocks:
        named = _FILE.match(code)
        assert named, code
        path = (home / package if _OF_THE_PROJECT.fullmatch(named[1]) else home) / named[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write("\n\n" + code[named.end() :])


def commands(guide: str) -> list[str]:
    """The blocks of commands, in the order of the page."""
    return _blocks(guide, "sh")


def follow(project: Project, block: str) -> None:
    """Run a block of commands in the project's directory: all of them must succeed.

    `python manage.py` is not started for each line of its own; the rest is a shell's.
    """
    lines = block.splitlines()
    first = [line for line in lines if _is_django(line)]
    assert lines[: len(first)] == first
    arguments = [shlex.split(_with_values(line, project))[1:] for line in first]
    _must_succeed(project, [*project.python, "-c", _RUN, json.dumps(arguments)])
    if rest := lines[len(first) :]:
        _must_succeed(project, ["/bin/bash", "-euo", "pipefail", "-c", "\n".join(rest)])


def forget_everybody(project: Project) -> None:
    """No tokens, accounts and sessions any more, wherever they are kept."""
    project.row(_EVERYBODY)


def _is_django(line: str) -> bool:
    return line.startswith("python manage.py ") and "<" not in line


def _with_values(line: str, project: Project) -> str:
    return re.sub(r"\$(\w+)", lambda name: project.env[name[1]], line)


def _must_succeed(project: Project, command: list[str]) -> None:
    done = subprocess.run(
        command,
        cwd=project.home,
        env=project.env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _blocks(guide: str, kind: str) -> list[str]:
    text = (ROOT / "docs/how-to" / guide).read_text()
    return [found[2] for found in _BLOCK.finditer(text) if found[1] == kind]
