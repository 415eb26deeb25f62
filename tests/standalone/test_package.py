"""What is built for other projects: `spotify_auth`, all of it, and nothing else."""

import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

import spotify_auth
from dev.dist import Built
from dev.process import ROOT

# Built once for all tests that need it, in one process.
pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("standalone")]

NAME = f"spotify_token_keeper-{spotify_auth.__version__}"
APP = {
    str(path.relative_to(ROOT))
    for path in (ROOT / "spotify_auth").rglob("*")
    if path.is_file() and "__pycache__" not in path.parts
} - {"spotify_auth/README.md"}
"""The description in the package's own data."""
ALWAYS_THERE = {
    "spotify_auth/py.typed",
    "spotify_auth/migrations/0001_initial.py",
    "spotify_auth/sandbox/pages/authorize.html",
    "spotify_auth/static/spotify_auth/operations.js",
    "spotify_auth/templates/spotify_auth/problem.html",
    "spotify_auth/templatetags/spotify.py",
}


def test_the_wheel_holds_the_app_and_nothing_else(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        names = set(wheel.namelist())
        about = message_from_string(wheel.read(f"{NAME}.dist-info/METADATA").decode())

    assert ALWAYS_THERE < APP
    assert {name for name in names if not name.startswith(f"{NAME}.dist-info/")} == APP
    assert f"{NAME}.dist-info/licenses/LICENSE" in names
    assert (about["Version"], about["Requires-Python"]) == (spotify_auth.__version__, ">=3.11")


def test_the_sdist_holds_what_the_wheel_is_built_from(built: Built) -> None:
    with tarfile.open(built.sdist) as sdist:
        names = {member.name for member in sdist if member.isfile()}

    own = {name.removeprefix(f"{NAME}/") for name in names}
    made = {name for name in own if name.startswith("spotify_token_keeper.egg-info/")}
    assert own - made == APP | {
        *("LICENSE", "README.md", "PKG-INFO", "pyproject.toml", "setup.cfg"),
        "spotify_auth/README.md",
    }


def test_a_package_index_would_take_both(built: Built) -> None:
    command = ["twine", "check", "--strict", str(built.wheel), str(built.sdist)]
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "library", "extra"),
    [
        (["-m", "spotify_auth.sandbox", "--help"], "aiohttp", "sandbox"),
        (["-c", "import spotify_auth.metrics"], "prometheus_client", "metrics"),
    ],
)
def test_what_an_extra_brings_is_named_where_it_is_missing(
    arguments: list[str], library: str, extra: str, tmp_path: Path
) -> None:
    """The library is one that is not there: a module of its name says so, as Python would."""
    (tmp_path / f"{library}.py").write_text(f"raise ModuleNotFoundError({library!r})")
    settings = "django.conf.global_settings"
    done = subprocess.run(
        [sys.executable, *arguments],
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "DJANGO_SETTINGS_MODULE": settings},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert f'install "spotify-token-keeper[{extra}]"' in done.stderr
