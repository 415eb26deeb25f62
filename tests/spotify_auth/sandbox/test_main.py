"""The process: its arguments, its one line, its end."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support.sandbox_client import Sandbox, SandboxError
from tests.support.servers import Authority


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "spotify_auth.sandbox", *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.fixture
def used_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_says_on_one_line_that_the_port_is_in_use(used_port: int) -> None:
    ended = run("--port", str(used_port))

    assert ended.returncode == 1
    assert ended.stderr == f"port {used_port} is in use on 127.0.0.1\n"
    assert ended.stdout == ""


def test_takes_the_port_from_the_environment(used_port: int) -> None:
    assert str(used_port) in run(SANDBOX_PORT=str(used_port)).stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--port", "70000"], "'70000' is not a port"),
        (["--port", "http"], "'http' is not a port"),
        (["--access-token-lifetime", "0"], "'0' is not a whole number of seconds from 1"),
        (["--code-lifetime", "1.5"], "'1.5' is not a whole number of seconds from 1"),
    ],
)
def test_refuses_wrong_arguments(arguments: list[str], complaint: str) -> None:
    ended = run(*arguments)

    assert ended.returncode == 2
    assert complaint in ended.stderr


def test_takes_the_lifetime_from_the_environment() -> None:
    assert "'soon' is not" in run(SANDBOX_ACCESS_TOKEN_LIFETIME="soon").stderr


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            {"SANDBOX_WORLD": "mars"},
            "'mars' is no world of the sandbox: say rotating or spotify-2026",
        ),
        ({"SANDBOX_REUSE_REVOKES_GRANT": "yes"}, "'yes' is not true or false"),
        (
            {"SANDBOX_REUSE_REVOKES_GRANT": "true", "SANDBOX_WORLD": "spotify-2026"},
            "no refresh token dies by its use in the world spotify-2026: say false",
        ),
    ],
)
def test_says_on_one_line_that_there_is_no_such_world(settings: dict[str, str], line: str) -> None:
    ended = run(**settings)

    assert (ended.returncode, ended.stderr, ended.stdout) == (2, f"{line}\n", "")


def test_answers_once_it_says_that_it_is_ready() -> None:
    with Sandbox() as sandbox:
        assert sandbox.stats()["totals"]["logins"] == 0


def test_ends_cleanly_on_sigterm() -> None:
    assert Sandbox().stop() == 0


def test_ends_cleanly_on_sigint() -> None:
    sandbox = Sandbox()
    sandbox.process.send_signal(signal.SIGINT)

    assert sandbox.process.wait(10) == 0
    sandbox.stop()


def test_ends_at_once_though_an_answer_is_held() -> None:
    sandbox = Sandbox()
    token = sandbox.connect(["listener"])["listener"]["refresh_token"]
    sandbox.faults("hold")
    with pytest.raises(requests.ReadTimeout):
        requests.post(
            f"{sandbox.url}/api/token",
            data={"grant_type": "refresh_token", "refresh_token": token},
            auth=(sandbox.client_id, sandbox.client_secret),
            timeout=(10, 0.3),
        )

    assert sandbox.stop() == 0


def test_the_client_reports_a_sandbox_that_does_not_start(used_port: int) -> None:
    with pytest.raises(SandboxError, match="exit status 1"):
        Sandbox(port=used_port)


def test_serves_https_too_with_a_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with Sandbox(certificate=authority.certify()) as sandbox:
        token = sandbox.connect(["user-1"])["user-1"]["access_token"]
        sandbox.session.verify = str(authority.file)
        sandbox.url = sandbox.tls_url

        assert sandbox.get("/v1/me", token).json()["account_id"]
