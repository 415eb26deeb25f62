"""Settings: complete documentation, and one readable line for everything that is wrong."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from config import settings
from dev.process import ROOT
from spotify_auth.encryption import Cipher
from tests.support import warm_python
from tests.support.keys import from_a_kms
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


Ended = subprocess.CompletedProcess[str]
Start = Callable[..., Ended]
BARE = {"PATH": os.environ["PATH"], "ENV_FILE": "/dev/null", "PORT": "0"}


def start_cold(command: list[str], **environment: str) -> Ended:
    """Run one of the commands with an environment, as a shell does."""
    return subprocess.run(
        command,
        env={**BARE, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def start() -> Start:
    """The same, with libraries that were imported before."""
    python = warm_python.of_the_run()

    def start_warm(command: list[str], **environment: str) -> Ended:
        env = {**BARE, **environment}
        if python and warm_python.can_be_warm(command, env=env, cwd=ROOT):
            return python.run(command[1:], env=env)
        return start_cold(command, **environment)

    return start_warm


def documented() -> list[str]:
    text = (ROOT / ".env.example").read_text()
    service = text.split("# --- Only for `make run`")[0]
    return re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", service, re.MULTILINE)


def procfile_names() -> set[str]:
    used = (ROOT / "Procfile").read_text() + (ROOT / "config/gunicorn.py").read_text()
    return set(re.findall(r"\$\{([A-Z_]+)", used)) | set(
        re.findall(r"""get\(['"]([A-Z_]+)""", used)
    )


def test_env_example_documents_exactly_the_settings_that_are_read() -> None:
    assert sorted(documented()) == sorted(set(settings.env.names) | procfile_names())


@pytest.mark.parametrize("process", PROCESSES)
def test_every_process_stops_with_one_line_per_missing_setting(process: str) -> None:
    ended = start_cold(PROCESSES[process])

    output = ended.stdout + ended.stderr
    assert ended.returncode != 0
    assert "Traceback" not in output
    for name in REQUIRED:
        assert output.count(f"{name} is missing") == 1


@pytest.mark.parametrize("process", PROCESSES)
def test_every_process_refuses_settings_that_leave_no_slack(process: str) -> None:
    ended = start_cold(PROCESSES[process], **REQUIRED, REFRESH_SWEEP_SECONDS="600")

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
        ("ADMIN_PATH", "/admin/"),
        ("ADMIN_PATH", "back-office"),
        ("ADMIN_PATH", "spotify/"),  # the callback's
        ("ADMIN_PATH", "a?b/"),
        ("ADMIN_SECOND_FACTOR", "maybe"),
        ("ADMIN_SESSION_HOURS", "0"),
        ("SESSION_DAYS", "1000000000"),  # no such day in a calendar
        ("TRUSTED_PROXIES", "all"),
        ("TRUSTED_PROXIES", "0.0.0.0/0"),  # then every visitor would choose their address
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
    ],
)
def test_a_malformed_setting_is_named_without_its_value(
    start: Start, name: str, value: str
) -> None:
    ended = start(PROCESSES["manage.py"], **{**REQUIRED, name: value})

    assert ended.returncode != 0
    assert f"{name} is malformed" in ended.stderr
    assert value not in ended.stderr or value == "0"
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("path", ["/callback", "/dashboard/", ""])
def test_the_web_server_does_not_start_with_a_redirect_uri_that_nothing_answers(
    start: Start, path: str
) -> None:
    uri = f"http://127.0.0.1:8000{path}"

    ended = start(PROCESSES["web"], **{**REQUIRED, "SPOTIFY_REDIRECT_URI": uri})

    output = ended.stdout + ended.stderr
    assert ended.returncode != 0
    assert "its path must be /spotify/callback/" in output
    assert "Traceback" not in output


def test_a_site_on_an_ipv6_address_serves_it(start: Start) -> None:
    uri = "http://[::1]:8000/spotify/callback/"
    show = [sys.executable, "-c", "from config import settings; print(settings.ALLOWED_HOSTS)"]

    ended = start(show, **{**REQUIRED, "SPOTIFY_REDIRECT_URI": uri})

    assert ended.stdout.strip() == "['[::1]']"


@pytest.mark.parametrize(
    ("uri", "prefix"),
    [
        ("https://keeper.example/spotify/callback/", "__Host-"),
        ("http://127.0.0.1:8000/spotify/callback/", ""),
    ],
)
def test_with_https_no_other_host_can_set_our_cookies(start: Start, uri: str, prefix: str) -> None:
    names = "settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME, login.cookie_name()"
    code = f"from django.conf import settings; from spotify_auth import login; print({names})"

    ended = start(
        [sys.executable, "manage.py", "shell", "--no-imports", "-c", code],
        **{**REQUIRED, "SPOTIFY_REDIRECT_URI": uri},
    )

    assert ended.stdout.split() == [f"{prefix}{n}" for n in ("sessionid", "csrftoken", "login")]


@pytest.mark.parametrize(
    ("host", "bound"),
    [("::", "[::]:8000"), ("::1", "[::1]:8000"), ("", "0.0.0.0:8000"), ("[::1]", "[::1]:8000")],
)
def test_gunicorn_binds_to_ipv6_addresses(start: Start, host: str, bound: str) -> None:
    show = [sys.executable, "-c", "from config import gunicorn; print(gunicorn.bind)"]

    ended = start(show, **{**REQUIRED, "HOST": host, "PORT": "8000"})

    assert ended.stdout.strip() == bound


def test_an_older_key_may_be_weak_so_that_it_can_be_retired(start: Start) -> None:
    weak = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    keys = f"{REQUIRED['TOKEN_ENCRYPTION_KEYS']},{weak}"

    ended = start(PROCESSES["manage.py"], **{**REQUIRED, "TOKEN_ENCRYPTION_KEYS": keys})

    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("host", ["127.0.0.1:8090", "localhost:8090", "[::1]:8090"])
def test_spotifys_addresses_may_be_a_sandbox_on_this_machine(start: Start, host: str) -> None:
    addresses = dict.fromkeys(("SPOTIFY_ACCOUNTS_URL", "SPOTIFY_API_URL"), f"http://{host}")

    ended = start(PROCESSES["manage.py"], **REQUIRED, **addresses)

    assert ended.returncode == 0, ended.stderr


def test_preloading_takes_the_subdomains_too(start: Start) -> None:
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


@pytest.fixture
def deploy_check(start: Start) -> Callable[..., Ended]:
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    return lambda **changes: start(command, **{**PRODUCTION, **changes})


def test_the_deploy_check_finds_nothing_in_production(deploy_check: Callable[..., Ended]) -> None:
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
    deploy_check: Callable[..., Ended], name: str, value: str, found: str
) -> None:
    ended = deploy_check(**{name: value})

    assert (found in ended.stderr) if found else (ended.returncode == 0), ended.stderr


def test_a_secret_that_begins_with_a_dollar_sign_is_taken_literally(start: Start) -> None:
    ended = start(PROCESSES["manage.py"], **{**REQUIRED, "SPOTIFY_CLIENT_SECRET": "$shh"})

    assert ended.returncode == 0, ended.stderr


def test_reads_the_env_file(start: Start, tmp_path: Path) -> None:
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
def test_the_login_form_may_lead_over_every_host_of_spotify(
    start: Start, accounts: str, allowed: bool
) -> None:
    """Chromium applies form-action to each redirect, and Spotify may use a second host."""
    show = "from config.settings import CONTENT_SECURITY_POLICY as p; print(p['DIRECTIVES'])"

    shown = start([sys.executable, "-c", show], **REQUIRED, SPOTIFY_ACCOUNTS_URL=accounts).stdout

    assert accounts in shown
    assert ("https://*.spotify.com" in shown) is allowed


SECRETS = {
    **{name: value for name, value in REQUIRED.items() if name in settings.env.secrets},
    "SECRET_KEY_FALLBACKS": "an-earlier-key another-one",
    "OUTBOUND_PROXY_URL": "http://user:pw-of-proxy@127.0.0.1:9",
    "EMAIL_URL": "smtp://user:pw-of-mail@127.0.0.1:25",
    "OPERATIONS_TOKEN": "a-token-of-operations",
}
SHOW = """
import json
from config import settings
names = ["SECRET_KEY", "SECRET_KEY_FALLBACKS", "REDIS_URL", "SPOTIFY_CLIENT_SECRET",
         "OUTBOUND_PROXY_URL", "DATABASE", "EMAIL_HOST_PASSWORD", "OPERATIONS_TOKEN"]
shown = {name: getattr(settings, name, None) for name in names}
print(json.dumps({**shown, "keys": [key.hex() for key in settings.TOKEN_ENCRYPTION_KEYS]}))
"""


def test_every_secret_may_be_in_a_file(start: Start, tmp_path: Path) -> None:
    assert set(SECRETS) == settings.env.secrets
    harmless = {name: value for name, value in REQUIRED.items() if name not in SECRETS}
    files = {}
    for name, value in SECRETS.items():
        (tmp_path / name).write_text(f"{value}\n")
        files[f"{name}_FILE"] = str(tmp_path / name)

    from_files = start([sys.executable, "-c", SHOW], **harmless, **files)

    assert from_files.returncode == 0, from_files.stderr
    assert from_files.stdout == start([sys.executable, "-c", SHOW], **harmless, **SECRETS).stdout
    assert "pw-of-mail" in from_files.stdout


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_that_is_given_both_ways_is_refused(
    start: Start, tmp_path: Path, name: str
) -> None:
    (tmp_path / "secret").write_text("in-the-file")
    both = {name: SECRETS[name], f"{name}_FILE": str(tmp_path / "secret")}

    ended = start(PROCESSES["manage.py"], **{**REQUIRED, **both})

    assert ended.returncode != 0
    assert ended.stderr.count(f"{name} and {name}_FILE are both set: remove one of them.") == 1
    assert SECRETS[name] not in ended.stderr
    assert "in-the-file" not in ended.stderr


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "which cannot be read: No such file or directory."),
        (b" \n", "which is empty."),
        (b"\xff\xfe shh", "which is no file of text."),
        (b"c2hvcnQ=\n", "is malformed: set it to base64 of 32 random bytes"),
    ],
    ids=["missing", "empty", "not text", "malformed"],
)
@pytest.mark.parametrize("process", PROCESSES)
def test_a_file_that_cannot_be_used_is_one_line_without_its_content(
    start: Start, tmp_path: Path, process: str, content: bytes | None, problem: str
) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(content)
    others = {name: value for name, value in REQUIRED.items() if name != "TOKEN_ENCRYPTION_KEYS"}

    ended = start(PROCESSES[process], **others, TOKEN_ENCRYPTION_KEYS_FILE=str(file))

    output = ended.stdout + ended.stderr
    assert ended.returncode != 0
    assert output.count("TOKEN_ENCRYPTION_KEYS_FILE") == 1
    assert problem in output
    assert "Traceback" not in output
    assert "shh" not in output
    assert "c2hvcnQ" not in output


def test_a_directory_in_place_of_a_file_is_one_line(start: Start, tmp_path: Path) -> None:
    others = {name: value for name, value in REQUIRED.items() if name != "SECRET_KEY"}

    ended = start(PROCESSES["manage.py"], **others, SECRET_KEY_FILE=str(tmp_path))

    assert "SECRET_KEY_FILE names" in ended.stderr
    assert "Is a directory" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_setting_that_is_no_secret_is_in_no_file(start: Start, tmp_path: Path) -> None:
    (tmp_path / "lanes").write_text("7")
    show = [sys.executable, "-c", "from config import settings; print(settings.REFRESH_LANES)"]

    ended = start(show, **REQUIRED, REFRESH_LANES_FILE=str(tmp_path / "lanes"))

    assert ended.stdout.strip() == "64"


def test_a_secret_key_with_a_comma_in_it_stays_one_key(start: Start) -> None:
    key = "a,key-with,commas-that-is-long-enough-to-sign-sessions-000"
    show = "from config import settings as s; print(s.SECRET_KEY, s.SECRET_KEY_FALLBACKS)"

    ended = start(
        [sys.executable, "-c", show],
        **{**REQUIRED, "SECRET_KEY": key},
        SECRET_KEY_FALLBACKS="old,one\nolder",
    )

    assert ended.stdout.strip() == f"{key} ['old,one', 'older']"


def test_the_keys_may_come_from_a_function_that_the_environment_names(start: Start) -> None:
    path = "tests.support.keys.from_a_kms"
    show = (
        "import django; django.setup()\n"
        "from spotify_auth.encryption import cipher\n"
        "print(cipher().current_head.hex())"
    )

    ended = start(
        [sys.executable, "-c", show],
        **{**REQUIRED, "TOKEN_ENCRYPTION_KEYS": path},
        DJANGO_SETTINGS_MODULE="config.settings",
    )

    assert ended.stdout.strip() == Cipher([from_a_kms()[0]]).current_head.hex()


SHOW_ADMIN = """
import django; django.setup()
from django.urls import Resolver404, resolve
for path in ("/admin/", "/staff/office/"):
    try: print(resolve(path).view_name)
    except Resolver404: print("none")
"""


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({}, ["admin:index", "none"]),
        ({"ADMIN_PATH": "staff/office/"}, ["none", "admin:index"]),
        ({"ADMIN_ENABLED": "false"}, ["none", "none"]),
    ],
)
def test_the_admin_can_be_moved_and_turned_off(
    start: Start, more: dict[str, str], found: list[str]
) -> None:
    ended = start(
        [sys.executable, "-c", SHOW_ADMIN],
        **{**REQUIRED, "DJANGO_SETTINGS_MODULE": "config.settings", **more},
    )

    assert ended.stdout.split() == found, ended.stderr


def test_every_command_works_without_the_admin(start: Start) -> None:
    ended = start(PROCESSES["manage.py"], **{**REQUIRED, "ADMIN_ENABLED": "false"})

    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(("proxies", "warned"), [("0", True), ("1", False), ("10.0.0.0/8", False)])
def test_the_deploy_check_knows_a_proxy_whose_visitors_are_one(
    start: Start, proxies: str, warned: bool
) -> None:
    command = [sys.executable, "manage.py", "check", "--deploy"]

    ended = start(command, **REQUIRED, TRUST_X_FORWARDED_PROTO="true", TRUSTED_PROXIES=proxies)

    assert ("spotify_auth.W012" in ended.stderr) is warned


def test_the_pool_of_asgi_counts_among_the_connections(start: Start) -> None:
    show = "from django.conf import settings; print(settings.MOST_DATABASE_CONNECTIONS)"
    sizes = {"WEB_SERVERS": "3", "WEB_CONCURRENCY": "2", "WEB_THREADS": "8", "ASGI_POOL_SIZE": "20"}

    wsgi, asgi = (
        int(start([sys.executable, "-c", show], **REQUIRED, **sizes, **module).stdout)
        for module in (
            {"DJANGO_SETTINGS_MODULE": "config.settings"},
            {"DJANGO_SETTINGS_MODULE": "config.asgi_settings"},
        )
    )

    assert asgi - wsgi == 3 * 2 * (20 - 8)
