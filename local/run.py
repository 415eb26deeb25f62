"""`make run`: the whole service on this machine, until Ctrl-C."""

import fcntl
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import environ
import honcho.manager
import honcho.process
import requests
from honcho.environ import parse_procfile

from local.postgres import Postgres, home_for_run
from local.process import LOCAL, ROOT, die_with_parent, port_is_free
from local.redis import Redis
from local.secrets import local_secrets

# Longer than the longest exchange: stopping never cuts one.
honcho.manager.KILL_WAIT = 30

DEFAULT_PORTS = {"PORT": 8000, "SANDBOX_PORT": 8090, "POSTGRES_PORT": 54330, "REDIS_PORT": 63790}
NAMES = {
    "PORT": "the web server",
    "SANDBOX_PORT": "the sandbox Spotify",
    "POSTGRES_PORT": "PostgreSQL",
    "REDIS_PORT": "Redis",
}


def main() -> int:
    """Start everything, wait for Ctrl-C or for a process that ends, stop everything."""
    environ.Env.read_env(os.environ.get("ENV_FILE", ROOT / ".env"))
    given = {name: value for name, value in os.environ.items() if value}
    ports = {name: _port(given, name) for name in DEFAULT_PORTS}
    with ExitStack() as stack:
        stack.enter_context(_only_run_of_this_clone())
        _check_ports(given, ports)
        env = stack.enter_context(_services(given, ports))
        _manage(env, "collectstatic", "--noinput", "--verbosity", "0")
        procfile = parse_procfile((ROOT / "Procfile").read_text()).processes
        release = _own_python(procfile.pop("release"))
        if subprocess.run(["/bin/sh", "-c", release], env=env, cwd=ROOT, check=False).returncode:
            return 1
        if "SPOTIFY_CLIENT_ID" not in given:
            procfile["sandbox"] = "python -m spotify_auth.sandbox --memory " + shlex.quote(
                str(LOCAL / "sandbox.json")
            )
        return _run(procfile, env)


def _run(procfile: Mapping[str, str], env: Mapping[str, str]) -> int:
    manager = honcho.manager.Manager()
    manager._process_ctor = _LeashedProcess
    for name, command in procfile.items():
        manager.add_process(name, f"exec {_own_python(command)}", env=dict(env), cwd=str(ROOT))
    address = f"http://{env['HOST']}:{env['PORT']}"
    threading.Thread(target=_announce, args=(address,), daemon=True).start()
    # A closed terminal is a Ctrl-C.
    signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    manager.loop()
    stopped_by_hand = manager.returncode in {130, 143}
    return 0 if stopped_by_hand else int(manager.returncode or 1)


class _LeashedProcess(honcho.process.Process):  # type: ignore[misc]  # honcho is untyped
    """A process that ends with the runner, even when the runner is killed."""

    def run(self, *args: Any, **kwargs: Any) -> None:
        die_with_parent(signal.SIGKILL)
        self._child_ctor = partial(
            honcho.process.Popen, preexec_fn=lambda: die_with_parent(signal.SIGTERM)
        )
        super().run(*args, **kwargs)


@contextmanager
def _services(given: Mapping[str, str], ports: Mapping[str, int]) -> Iterator[dict[str, str]]:
    """Start PostgreSQL and Redis, unless addresses of others were given; the environment."""
    secrets = local_secrets()
    env = {**secrets, **_defaults(given, ports), **given}
    with ExitStack() as stack:
        if "DATABASE_URL" not in given:
            home = home_for_run()
            if not home.is_relative_to(LOCAL):
                print(
                    f"PostgreSQL's data is in {home}: its user `nobody` cannot enter this clone. "
                    "`make clean` removes it."
                )
            postgres = Postgres(
                home, port=ports["POSTGRES_PORT"], password=secrets["POSTGRES_PASSWORD"]
            )
            stack.callback(postgres.stop)
            postgres.start()
            postgres.create_database("keeper")
            env["DATABASE_URL"] = postgres.url("keeper")
        if "REDIS_URL" not in given:
            redis = Redis(
                LOCAL / "redis",
                port=ports["REDIS_PORT"],
                password=secrets["REDIS_PASSWORD"],
                options=["appendonly yes"],
            )
            stack.callback(redis.stop)
            redis.start()
            env["REDIS_URL"] = redis.url
        yield env


def _defaults(given: Mapping[str, str], ports: Mapping[str, int]) -> dict[str, str]:
    """What the service needs to know, where the environment is silent."""
    port = str(ports["PORT"])
    defaults = {
        "HOST": "127.0.0.1",
        "PORT": port,
        "ALLOWED_HOSTS": "127.0.0.1,localhost",
        "SPOTIFY_REDIRECT_URI": f"http://127.0.0.1:{port}/spotify/callback/",
        "WORKER_CONCURRENCY": "16",
        "PYTHONUNBUFFERED": "1",
        "PATH": f"{os.path.dirname(sys.executable)}:{given.get('PATH', '')}",
    }
    if "SPOTIFY_CLIENT_ID" not in given:
        sandbox = f"http://127.0.0.1:{ports['SANDBOX_PORT']}"
        lifetime = given.get("SANDBOX_ACCESS_TOKEN_LIFETIME", "120")
        defaults |= {
            "SPOTIFY_CLIENT_ID": "sandbox-client",
            "SPOTIFY_CLIENT_SECRET": "sandbox-secret",
            "SPOTIFY_ACCOUNTS_URL": sandbox,
            "SPOTIFY_API_URL": sandbox,
            "SANDBOX_PORT": str(ports["SANDBOX_PORT"]),
            "SANDBOX_ACCESS_TOKEN_LIFETIME": lifetime,
            "ACCESS_TOKEN_LIFETIME_SECONDS": lifetime,
            "REFRESH_SWEEP_SECONDS": "2",
            "TOKEN_ENDPOINT_DEADLINE_SECONDS": "8",
        }
    return defaults


def _check_ports(given: Mapping[str, str], ports: Mapping[str, int]) -> None:
    unused = {
        "SANDBOX_PORT": "SPOTIFY_CLIENT_ID" in given,
        "POSTGRES_PORT": "DATABASE_URL" in given,
        "REDIS_PORT": "REDIS_URL" in given,
    }
    taken = [
        f"Port {port} for {NAMES[name]} is taken: set {name} to another one, for example "
        f"`{name}={port + 1} make run`."
        for name, port in ports.items()
        if not unused.get(name) and not port_is_free(port)
    ]
    if taken:
        sys.exit("\n".join(taken))


def _port(given: Mapping[str, str], name: str) -> int:
    raw = given.get(name, str(DEFAULT_PORTS[name]))
    if not raw.isdecimal() or not 0 < int(raw) < 65536:
        sys.exit(f"{name} is malformed: set it to a port number, 1 to 65535.")
    return int(raw)


@contextmanager
def _only_run_of_this_clone() -> Iterator[None]:
    LOCAL.mkdir(exist_ok=True)
    with (LOCAL / "run.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("`make run` is running in this clone already.")
        yield


def _manage(env: Mapping[str, str], *arguments: str) -> None:
    command = [sys.executable, "manage.py", *arguments]
    if subprocess.run(command, env=env, cwd=ROOT, check=False).returncode:
        sys.exit(1)


def _own_python(command: str) -> str:
    """A Procfile line, run by this very Python: its scripts break in a path with a space."""
    python = shlex.quote(sys.executable)
    program, _, rest = command.partition(" ")
    return f"{python} {rest}" if program == "python" else f"{python} -m {program} {rest}"


def _announce(address: str) -> None:
    while True:
        try:
            requests.get(address, timeout=2, allow_redirects=False)
        except requests.RequestException:
            time.sleep(0.2)
        else:
            print(
                f"\nSpotify Token Keeper is running: open {address} (Ctrl-C stops everything)\n",
                flush=True,
            )
            return


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(0)
