"""Settings: complete documentation, and one readable line for everything that is wrong."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from config import settings
from dev.process import ROOT
from tests.support.processes import celery_command

REQUIRED = {
    "SECRET_KEY": "a-secret-key-for-this-test-that-is-long-enough-to-pass-000",
    "TOKEN_ENCRYPTION_KEYS": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "DATABASE_URL": "postgres://nobody:pw-of-db@127.0.0.1:9/none",
    "REDIS_URL": "redis://127.0.0.1:9/0",
    "SPOTIFY_CLIENT_ID": "id",
    "SPOTIFY_CLIENT_SECRET": "shh-secret",
    "SPOTIFY_REDIRECT_URI": "http://127.0.0.1:8000/spotify/callback/",
}
PROCESSES = {
    "manage.py": [sys.executable, "manage.py", "check"],
    "web": [sys.executable, "-m", "gunicorn", "config.wsgi", "--config", "config/gunicorn.py"],
    "worker": celery_command("worker", "--pool", "threads"),
    "beat": celery_command("beat"),
}


def start(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env={"PATH": os.environ["PATH"], "ENV_FILE": "/dev/null", "PORT": "0", **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def documented() -> set[str]:
    text = (ROOT / ".env.example").read_text()
    service = text.split("# --- Only for `make run`")[0]
    return set(re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", service, re.MULTILINE))


def procfile_names() -> set[str]:
    used = (ROOT / "Procfile").read_text() + (ROOT / "config/gunicorn.py").read_text()
    return set(re.findall(r"\$\{([A-Z_]+)", used)) | set(
        re.findall(r"""get\(['"]([A-Z_]+)""", used)
    )


def test_env_example_documents_exactly_the_settings_that_are_read() -> None:
    assert documented() == set(settings.env.names) | procfile_names()


@pytest.mark.parametrize("process", PROCESSES)
def test_every_process_stops_with_one_line_per_missing_setting(process: str) -> None:
    ended = start(PROCESSES[process])

    output = ended.stdout + ended.stderr
    assert ended.returncode != 0
    assert "Traceback" not in output
    for name in REQUIRED:
        assert output.count(f"{name} is missing") == 1


@pytest.mark.parametrize("process", PROCESSES)
def test_every_process_refuses_settings_that_leave_no_slack(process: str) -> None:
    ended = start(PROCESSES[process], **REQUIRED, REFRESH_SWEEP_SECONDS="600")

    output = ended.stdout + ended.stderr
    assert ended.returncode != 0
    assert "3 x REFRESH_SWEEP_SECONDS" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://u:p@h/n"),  # the row lock is the product
        ("DATABASE_URL", "postgres://u:p@h"),  # no database named
        ("REDIS_URL", "http://127.0.0.1"),
        ("SPOTIFY_REDIRECT_URI", "127.0.0.1:8000"),
        ("SPOTIFY_REDIRECT_URI", "http://localhost:8000/spotify/callback/"),
        ("SPOTIFY_REDIRECT_URI", "http://example.com/spotify/callback/"),
        ("SPOTIFY_REDIRECT_URI", "https://example.com/spotify/callback/?a=b"),
        ("SPOTIFY_API_URL", "ftp://example.com"),
        ("DEBUG", "perhaps"),  # neither yes nor no
        ("REFRESH_LANES", "many"),
        ("REFRESH_LANES", "0"),
        ("REFRESH_SWEEP_SECONDS", "nan"),
        ("REFRESH_SWEEP_SECONDS", "-1"),
        ("ACCESS_TOKEN_LIFETIME_SECONDS", "inf"),
        ("TOKEN_ENCRYPTION_KEYS", "c2hvcnQ="),
        # A first key that is not random, an easy secret, a service without TLS.
        ("TOKEN_ENCRYPTION_KEYS", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ("TOKEN_ENCRYPTION_KEYS", "YWFhYWFhYWFhYWFhYWFhYWJiYmJiYmJiYmJiYmJiYmI="),
        ("SECRET_KEY", "short-and-easy"),
        ("SECRET_KEY", "ab" * 40),
        ("SECRET_KEY", "django-insecure-0123456789abcdefghijklmnopqrstuvwxyz0123456789"),
        ("SPOTIFY_ACCOUNTS_URL", "http://accounts.spotify.com"),
        ("SPOTIFY_API_URL", "http://10.0.0.1:8090"),
        ("HSTS_SUBDOMAINS", "perhaps"),
        ("LOG_LEVEL", "LOUD"),
    ],
)
def test_a_malformed_setting_is_named_without_its_value(name: str, value: str) -> None:
    ended = start(PROCESSES["manage.py"], **{**REQUIRED, name: value})

    assert ended.returncode != 0
    assert f"{name} is malformed" in ended.stderr
    assert value not in ended.stderr or value == "0"
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("path", ["/callback", "/dashboard/", ""])
def test_the_web_server_does_not_start_with_a_redirect_uri_that_nothing_answers(path: str) -> None:
    uri = f"http://127.0.0.1:8000{path}"

    ended = start(PROCESSES["web"], **{**REQUIRED, "SPOTIFY_REDIRECT_URI": uri})

    output = ended.stdout + ended.stderr
    assert ended.returncode != 0
    assert "its path must be /spotify/callback/" in output
    assert "Traceback" not in output


def test_a_site_on_an_ipv6_address_serves_it() -> None:
    uri = "http://[::1]:8000/spotify/callback/"
    show = [sys.executable, "-c", "from config import settings; print(settings.ALLOWED_HOSTS)"]

    ended = start(show, **{**REQUIRED, "SPOTIFY_REDIRECT_URI": uri})

    assert ended.stdout.strip() == "['[::1]']"


@pytest.mark.parametrize(
    ("host", "bound"),
    [("::", "[::]:8000"), ("::1", "[::1]:8000"), ("", "0.0.0.0:8000"), ("[::1]", "[::1]:8000")],
)
def test_gunicorn_binds_to_ipv6_addresses(host: str, bound: str) -> None:
    show = [sys.executable, "-c", "from config import gunicorn; print(gunicorn.bind)"]

    ended = start(show, **{**REQUIRED, "HOST": host, "PORT": "8000"})

    assert ended.stdout.strip() == bound


def test_an_older_key_may_be_weak_so_that_it_can_be_retired() -> None:
    weak = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    keys = f"{REQUIRED['TOKEN_ENCRYPTION_KEYS']},{weak}"

    ended = start(PROCESSES["manage.py"], **{**REQUIRED, "TOKEN_ENCRYPTION_KEYS": keys})

    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("host", ["127.0.0.1:8090", "localhost:8090", "[::1]:8090"])
def test_spotifys_addresses_may_be_a_sandbox_on_this_machine(host: str) -> None:
    addresses = dict.fromkeys(("SPOTIFY_ACCOUNTS_URL", "SPOTIFY_API_URL"), f"http://{host}")

    ended = start(PROCESSES["manage.py"], **REQUIRED, **addresses)

    assert ended.returncode == 0, ended.stderr


def test_preloading_takes_the_subdomains_too() -> None:
    switches = {"HSTS_PRELOAD": "true", "HSTS_SUBDOMAINS": "false"}

    ended = start(PROCESSES["manage.py"], **REQUIRED, **switches)

    assert "HSTS_PRELOAD is malformed" in ended.stderr
    assert ended.returncode != 0


PRODUCTION = {
    **REQUIRED,
    "DATABASE_URL": "postgres://keeper:pw@db.example.com:5432/keeper?sslmode=verify-full",
    "REDIS_URL": "rediss://:pw@redis.example.com:6380/0",
    "SPOTIFY_REDIRECT_URI": "https://keeper.example/spotify/callback/",
}


def deploy_check(**changes: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    return start(command, **{**PRODUCTION, **changes})


def test_the_deploy_check_finds_nothing_in_production() -> None:
    ended = deploy_check()

    assert ended.returncode == 0, ended.stderr
    assert "no issues" in ended.stdout


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("REDIS_URL", "redis://:pw@redis.example.com:6379/0", "W010"),
        ("REDIS_URL", "redis://:pw@8.8.8.8:6379/0", "W010"),
        ("REDIS_URL", "redis://:pw@10.0.0.7:6379/0", ""),  # a private network
        ("REDIS_URL", "redis://redis:6379/0", ""),  # a container's name
        ("REDIS_URL", "unix:///run/redis.sock?db=0", ""),
        ("DATABASE_URL", "postgres://keeper:pw@db.example.com/keeper", "W011"),
        ("DATABASE_URL", "postgres://keeper:pw@8.8.8.8/keeper?sslmode=prefer", "W011"),
        ("DATABASE_URL", "postgres://keeper:pw@db.internal/keeper", ""),
        ("DATABASE_URL", "postgres://keeper:pw@%2Frun%2Fpostgresql/keeper", ""),
        ("HSTS_SUBDOMAINS", "false", "security.W005"),
        ("DEBUG", "true", "security.W018"),
    ],
)
def test_the_deploy_check_names_what_is_sent_in_the_clear(
    name: str, value: str, found: str
) -> None:
    ended = deploy_check(**{name: value})

    assert (found in ended.stderr) if found else (ended.returncode == 0), ended.stderr


def test_a_secret_that_begins_with_a_dollar_sign_is_taken_literally() -> None:
    ended = start(PROCESSES["manage.py"], **{**REQUIRED, "SPOTIFY_CLIENT_SECRET": "$shh"})

    assert ended.returncode == 0, ended.stderr


def test_reads_the_env_file(tmp_path: Path) -> None:
    env_file = tmp_path / "env"
    env_file.write_text("\n".join(f"{name}={value}" for name, value in REQUIRED.items()))

    ended = start(PROCESSES["manage.py"], ENV_FILE=str(env_file))

    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("accounts", "allowed"),
    [
        ("https://accounts.spotify.com", True),
        ("http://127.0.0.1:8090", False),  # the sandbox
    ],
)
def test_the_login_form_may_lead_over_every_host_of_spotify(accounts: str, allowed: bool) -> None:
    """Chromium applies form-action to each redirect, and Spotify may use a second host."""
    show = "from config.settings import CONTENT_SECURITY_POLICY as p; print(p['DIRECTIVES'])"

    shown = start([sys.executable, "-c", show], **REQUIRED, SPOTIFY_ACCOUNTS_URL=accounts).stdout

    assert accounts in shown
    assert ("https://*.spotify.com" in shown) is allowed
