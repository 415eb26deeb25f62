"""`make run` itself: what it says when it cannot start, and that it leaves nothing behind."""

import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import requests

from accounts.models import User
from dev import run as make_run
from dev.process import ROOT, free_port
from tests.support.processes import service_environment, wait_for

NAMES = ("PORT", "SANDBOX_PORT", "POSTGRES_PORT", "REDIS_PORT")
Run = subprocess.Popen[str]


@pytest.fixture
def ports() -> dict[str, str]:
    return {name: str(free_port()) for name in NAMES}


@pytest.fixture
def start(ports: dict[str, str], home: Path) -> Iterator[Callable[..., Run]]:
    """Start `make run`'s command, with ports and data of its own; end it afterwards."""
    runs: list[Run] = []

    def start_one(**environment: str) -> Run:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        ours = {"ENV_FILE": os.devnull, "LOCAL_DIRECTORY": str(home)}
        run = subprocess.Popen(
            [sys.executable, "-m", "dev.run"],
            env={**kept, **ours, **ports, **environment},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        runs.append(run)
        return run

    yield start_one
    for run in runs:
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=60)


def wait_until_it_runs(run: Run) -> tuple[str, str]:
    """The lines after the one that says so: about the admin, and about the sandbox."""
    assert run.stdout
    seen = []
    for line in run.stdout:
        seen.append(line)
        if "Spotify Token Keeper is running: open" in line:
            assert "password" not in "".join(seen)
            return run.stdout.readline(), run.stdout.readline()
    pytest.fail(f"it ended:\n{''.join(seen)}")


def manage(home: Path, *arguments: str, told: str = "") -> str:
    """What `make manage` writes. It knows the clone, and nothing else of the run."""
    ended = subprocess.run(
        [sys.executable, "-m", "dev.manage", *arguments],
        env={"PATH": os.environ["PATH"], "LOCAL_DIRECTORY": str(home)},
        input=told,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.stdout + ended.stderr


def enters_the_admin(address: str, password: str) -> bool:
    """Whether the admin's own form lets its administrator in, without a second factor."""
    with requests.Session() as browser:
        browser.get(address, timeout=60)
        form = {
            "username": "admin",
            "password": password,
            "csrfmiddlewaretoken": browser.cookies["csrftoken"],
        }
        entered = browser.post(f"{address}login/?next=/admin/", form, timeout=60)
        return "Site administration" in entered.text


def family(run: Run) -> dict[str, psutil.Process]:
    """What a run has started, by the words in its command line."""
    found: dict[str, psutil.Process] = {}
    for child in psutil.Process(run.pid).children(recursive=True):
        for name in ("gunicorn", "beat", "worker", "spotify_auth.sandbox", "redis", "postgres"):
            if name in " ".join(child.cmdline()):
                found.setdefault(name, child)
    assert len(found) == 6
    return found


@contextmanager
def told_when_they_end(processes: Mapping[str, psutil.Process]) -> Iterator[list[str]]:
    """The names in the order of the ends, once the block is over, and all of them have ended.

    Linux keeps that order, however late this process looks.
    """
    ended: list[str] = []
    names = {os.pidfd_open(process.pid): name for name, process in processes.items()}
    with select.epoll() as queue:
        for end in names:
            queue.register(end, select.EPOLLIN | select.EPOLLONESHOT)
        yield ended
        while len(ended) < len(names):
            found = queue.poll(60)
            assert found, f"only {ended} have ended"
            ended += [names[end] for end, _ in found]
    for end in names:
        os.close(end)


@pytest.mark.parametrize("name", NAMES)
def test_a_taken_port_is_named_with_the_variable_that_changes_it(
    start: Callable[..., Run], ports: dict[str, str], name: str
) -> None:
    with socket.create_server(("127.0.0.1", int(ports[name]))):
        output, _ = start().communicate(timeout=60)

    lines = output.strip().splitlines()
    assert len(lines) == 1
    assert f"Port {ports[name]} for" in lines[0]
    assert f"set {name} to another one" in lines[0]


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({"PORT": "http"}, "PORT is malformed: set it to a port number, 1 to 65535."),
        ({"ENV_FILE": "/no/such"}, "ENV_FILE names /no/such, which does not exist."),
        (
            {"SANDBOX_WORLD": "mars"},
            "SANDBOX_WORLD: 'mars' is no world of the sandbox: say rotating or spotify-2026.",
        ),
        (
            {"SANDBOX_WORLD": "spotify-2026", "SANDBOX_REUSE_REVOKES_GRANT": "true"},
            "SANDBOX_REUSE_REVOKES_GRANT: no refresh token dies by its use in the world "
            "spotify-2026: say false.",
        ),
        # Two of ours on one port.
        (
            {"PORT": "18765", "SANDBOX_PORT": "18765"},
            "Port 18765 for the sandbox Spotify is taken: set SANDBOX_PORT to another one, "
            "for example `SANDBOX_PORT=18766 make run`.",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    start: Callable[..., Run], environment: dict[str, str], line: str
) -> None:
    run = start(**environment)
    output, _ = run.communicate(timeout=60)

    assert (run.returncode, output.strip()) == (1, line)


def test_wrong_settings_are_said_in_their_own_lines(start: Callable[..., Run]) -> None:
    run = start(
        DATABASE_URL="postgres://127.0.0.1/never-connected",
        REDIS_URL="redis://127.0.0.1",
        SPOTIFY_CLIENT_ID="given",
        # Empty is as good as not set, and a client id needs its secret.
        SPOTIFY_CLIENT_SECRET="",
    )
    output, _ = run.communicate(timeout=60)

    assert run.returncode == 1
    assert "SPOTIFY_CLIENT_SECRET is missing" in output
    assert "Traceback" not in output


def test_ctrl_c_while_it_starts_leaves_nothing(start: Callable[..., Run], home: Path) -> None:
    run = start()
    wait_for((home / "postgres" / "data.new").exists, what="initdb to begin")
    children = psutil.Process(run.pid).children(recursive=True)
    os.killpg(run.pid, signal.SIGINT)
    output, _ = run.communicate(timeout=60)

    assert (run.returncode, output) == (0, "")
    assert children
    assert not [child for child in children if child.is_running()]


@pytest.mark.slow
def test_runs_the_whole_service_and_stops_the_servers_last(
    start: Callable[..., Run], ports: dict[str, str], home: Path
) -> None:
    assert "`make run` is not running in this clone" in manage(home, "check")
    killed = start()
    about_the_admin, about_the_sandbox = wait_until_it_runs(killed)
    assert "`SANDBOX_WORLD=spotify-2026 make run`" in about_the_sandbox
    printed = re.fullmatch(r"The admin is at (\S+): name admin, password (\S+)\n", about_the_admin)
    assert printed
    assert enters_the_admin(*printed.groups())
    own = "a password of their own"
    change = f"user = User.objects.get(); user.set_password({own!r}); user.save()"
    assert "Traceback" not in manage(home, "shell", told=f"{change}\n")
    second, _ = start(**{name: str(free_port()) for name in NAMES}).communicate(timeout=60)
    orphans = family(killed)
    for process in orphans.values():
        assert printed[2] not in str(process.environ()) + str(process.cmdline())
    assert second.strip() == "`make run` is running in this clone already."

    # Killed and started again at once: what is left of the first run is no obstacle.
    killed.kill()
    killed.wait()
    run = start(SANDBOX_WORLD="spotify-2026")
    about_the_admin, about_the_sandbox = wait_until_it_runs(run)
    assert "The sandbox Spotify is the world spotify-2026" in about_the_sandbox
    # The printed password would be a wrong one by now.
    assert "name admin, the password that you gave it" in about_the_admin
    assert printed[2] not in about_the_admin
    assert enters_the_admin(printed[1], own)
    stats = requests.get(f"http://127.0.0.1:{ports['SANDBOX_PORT']}/__stats", timeout=60).json()
    assert stats["world"] == "spotify-2026"
    processes = family(run)
    assert not [name for name, process in orphans.items() if process.is_running()]
    assert requests.get(f"http://127.0.0.1:{ports['PORT']}/", timeout=60).ok
    assert {*make_run.NOT_FOR_THE_SERVICE}.isdisjoint(processes["gunicorn"].environ())

    with told_when_they_end(processes) as ended:
        run.send_signal(signal.SIGINT)
        output, _ = run.communicate(timeout=60)

    assert run.returncode == 0
    assert "Traceback" not in output
    assert set(ended[:3]) == {"gunicorn", "beat", "worker"}
    assert ended[3:] == ["spotify_auth.sandbox", "redis", "postgres"]


def test_a_server_whose_address_is_in_a_file_is_not_started() -> None:
    given = {"DATABASE_URL_FILE": "/run/secrets/database", "REDIS_URL_FILE": "/run/secrets/redis"}

    assert set(make_run._ports(given)) == {"PORT", "SANDBOX_PORT"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["DATABASE_URL", "DATABASE_URL_FILE"])
def test_nobody_is_made_an_administrator_of_a_database_that_is_given(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {"ADMINISTRATOR_PASSWORD": "a password that is long enough"}
    monkeypatch.setattr(make_run, "local_secrets", lambda: made)
    nowhere = "http://127.0.0.1:9"
    here = {"HOST": "127.0.0.1", "PORT": "9"}
    env = service_environment(spotify_url=nowhere, redis_url="redis://127.0.0.1:9", **here)

    ports = make_run._ports({name: env["DATABASE_URL"]})

    assert make_run._way_in(ports, env=env) == ""
    assert not User.objects.exists()
    assert make_run._way_in(make_run._ports({}), env=env)  # the one that make run starts
    assert User.objects.get().is_superuser


def test_a_secret_in_a_file_takes_the_place_of_a_local_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = ("SECRET_KEY", "TOKEN_ENCRYPTION_KEYS", *make_run.NOT_FOR_THE_SERVICE)
    monkeypatch.setattr(make_run, "local_secrets", lambda: dict.fromkeys(made, "local"))
    given = {"SPOTIFY_CLIENT_ID": "id", "SECRET_KEY_FILE": "/run/secrets/key"}

    with make_run._services(given, {}) as (env, servers):
        assert servers == []
        assert "SECRET_KEY" not in env
        assert env["TOKEN_ENCRYPTION_KEYS"] == "local"
        assert not env.keys() & {*make_run.NOT_FOR_THE_SERVICE}
