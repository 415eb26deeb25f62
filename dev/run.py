"""`make run`: the whole service on this machine, until Ctrl-C."""

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import environ
from honcho.environ import parse_procfile

from dev.administrator import way_in
from dev.leftovers import end_leftovers, mark_children
from dev.lock import only_run_of_this_clone
from dev.postgres import Postgres, home_for_run
from dev.process import LOCAL, ROOT, interrupt_on, port_is_free, run_step
from dev.redis import Redis
from dev.sandbox import chosen_world, note_about, start_sandbox
from dev.secrets import local_secrets
from dev.server import Server
from dev.supervisor import own_python, supervise

DEFAULT_PORTS = {"PORT": 8000, "SANDBOX_PORT": 8090, "POSTGRES_PORT": 54330, "REDIS_PORT": 63790}
NAMES = {
    "PORT": "the web server",
    "SANDBOX_PORT": "the sandbox Spotify",
    "POSTGRES_PORT": "PostgreSQL",
    "REDIS_PORT": "Redis",
}
NOT_FOR_THE_SERVICE = ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "ADMINISTRATOR_PASSWORD")
"""The local secrets that no process of the service has in its environment as such."""


def main() -> int:
    """Start everything, wait for Ctrl-C or for a process that ends, stop everything."""
    mark_children()
    given = _given()
    ports = _ports(given)
    note = note_about(chosen_world(given)) if "SANDBOX_PORT" in ports else ""
    with ExitStack() as stack:
        stack.enter_context(only_run_of_this_clone())
        end_leftovers()
        _check_ports(ports)
        env, servers = stack.enter_context(_services(given, ports))
        procfile = parse_procfile((ROOT / "Procfile").read_text()).processes
        release = procfile.pop("release")
        for step in ("python manage.py collectstatic --noinput --verbosity 0", release):
            ended = run_step(["/bin/sh", "-c", f"exec {own_python(step)}"], env=env, cwd=ROOT)
            if ended.returncode:
                return 1
        note = "\n".join(filter(None, [_way_in(ports, env=env), note]))
        return supervise(procfile, env=env, servers=servers, note=note)


def _way_in(ports: Mapping[str, int], *, env: Mapping[str, str]) -> str:
    """How to enter the admin; blank where the database is given.

    Elsewhere, in production say, nobody is made an administrator unasked.
    """
    if "POSTGRES_PORT" not in ports:
        return ""
    return way_in(password=local_secrets()["ADMINISTRATOR_PASSWORD"], env=env)


def _given() -> dict[str, str]:
    """The environment and the .env file. An empty variable counts as not given."""
    for name in [name for name, value in os.environ.items() if not value]:
        del os.environ[name]
    file = os.environ.get("ENV_FILE")
    if file and not Path(file).exists():
        sys.exit(f"ENV_FILE names {file}, which does not exist.")
    environ.Env.read_env(file or ROOT / ".env")
    return {name: value for name, value in os.environ.items() if value}


@contextmanager
def _services(
    given: Mapping[str, str], ports: Mapping[str, int]
) -> Iterator[tuple[dict[str, str], list[Server]]]:
    """Start the servers that the environment does not name; yield the complete environment.

    They stop in the opposite order: PostgreSQL last.
    """
    secrets = local_secrets()
    passwords = {name: secrets.pop(name) for name in NOT_FOR_THE_SERVICE}
    ours = {**secrets, **_defaults(given)}
    env = {name: ours[name] for name in ours if f"{name}_FILE" not in given} | dict(given)
    servers: list[Server] = []
    with ExitStack() as stack:
        if "POSTGRES_PORT" in ports:
            home = home_for_run()
            if not home.is_relative_to(LOCAL):
                print(
                    f"PostgreSQL's data is in {home}: its user `nobody` cannot enter this clone. "
                    "`make clean` removes it.",
                    flush=True,
                )
            postgres = Postgres(
                home, port=ports["POSTGRES_PORT"], password=passwords["POSTGRES_PASSWORD"]
            )
            stack.callback(postgres.stop)
            servers.append(postgres.start())
            postgres.create_database("keeper")
            env["DATABASE_URL"] = postgres.url("keeper")
        if "REDIS_PORT" in ports:
            redis = Redis(
                LOCAL / "redis",
                port=ports["REDIS_PORT"],
                password=passwords["REDIS_PASSWORD"],
                options=["appendonly yes"],
            )
            stack.callback(redis.stop)
            servers.append(redis.start())
            env["REDIS_URL"] = redis.url
        if "SANDBOX_PORT" in ports:
            sandbox = start_sandbox(port=ports["SANDBOX_PORT"], env=env)
            stack.callback(sandbox.stop)
            servers.append(sandbox)
        yield env, servers


def _defaults(given: Mapping[str, str]) -> dict[str, str]:
    """The settings that the environment does not give."""
    port = given.get("PORT", DEFAULT_PORTS["PORT"])
    defaults = {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "ALLOWED_HOSTS": "127.0.0.1,localhost",
        "SPOTIFY_REDIRECT_URI": f"http://127.0.0.1:{port}/spotify/callback/",
        "WORKER_CONCURRENCY": "16",
        "PYTHONUNBUFFERED": "1",
        "STATIC_ROOT": str(LOCAL / "staticfiles"),
    }
    if "SPOTIFY_CLIENT_ID" not in given:
        sandbox_port = given.get("SANDBOX_PORT", str(DEFAULT_PORTS["SANDBOX_PORT"]))
        sandbox = f"http://127.0.0.1:{sandbox_port}"
        lifetime = given.get("SANDBOX_ACCESS_TOKEN_LIFETIME", "120")
        defaults |= {
            "SPOTIFY_CLIENT_ID": "sandbox-client",
            "SPOTIFY_CLIENT_SECRET": "sandbox-secret",
            "SPOTIFY_ACCOUNTS_URL": sandbox,
            "SPOTIFY_API_URL": sandbox,
            "SANDBOX_PORT": sandbox_port,
            "SANDBOX_ACCESS_TOKEN_LIFETIME": lifetime,
            "ACCESS_TOKEN_LIFETIME_SECONDS": lifetime,
            "REFRESH_SWEEP_SECONDS": "2",
            "TOKEN_ENDPOINT_DEADLINE_SECONDS": "8",
        }
    return defaults


def _ports(given: Mapping[str, str]) -> dict[str, int]:
    """The ports that this run will listen on, by the variable that changes each."""
    replaced_by = {
        "SANDBOX_PORT": "SPOTIFY_CLIENT_ID",
        "POSTGRES_PORT": "DATABASE_URL",
        "REDIS_PORT": "REDIS_URL",
    }
    return {
        name: _port(given, name)
        for name in DEFAULT_PORTS
        if not {replaced_by.get(name), f"{replaced_by.get(name)}_FILE"} & given.keys()
    }


def _port(given: Mapping[str, str], name: str) -> int:
    raw = given.get(name, str(DEFAULT_PORTS[name]))
    if not raw.isdecimal() or not 0 < int(raw) < 65536:
        sys.exit(f"{name} is malformed: set it to a port number, 1 to 65535.")
    return int(raw)


def _check_ports(ports: Mapping[str, int]) -> None:
    """Raises SystemExit with one line for each port that is taken."""
    seen: set[int] = set()
    taken = []
    for name, port in ports.items():
        if port in seen or not port_is_free(port):
            taken.append(
                f"Port {port} for {NAMES[name]} is taken: set {name} to another one, for example "
                f"`{name}={port + 1} make run`."
            )
        seen.add(port)
    if taken:
        sys.exit("\n".join(taken))


if __name__ == "__main__":
    interrupt_on(signal.SIGINT, signal.SIGTERM)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as it is under nohup
        interrupt_on(signal.SIGHUP)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(0)
