"""What a test run is shielded from."""

import re

import pytest

from dev.process import ROOT
from dev.testing import WITHOUT_LIMITS, settings_for_tests


@pytest.mark.parametrize(
    "name",
    [
        "DEBUG",  # a setting of the service
        "WEB_CONCURRENCY",  # of the Procfile
        "SANDBOX_PORT",  # of `make run`
        "PGOPTIONS",  # psycopg reads it
        "https_proxy",  # requests reads it
        "DJANGO_SETTINGS_MODULE",
    ],
)
def test_the_callers_variables_do_not_reach_the_tests(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "the caller's")

    env = settings_for_tests(database_url="postgres://x", redis_url="redis://x")

    assert env.get(name) != "the caller's"
    assert env["ENV_FILE"] == "/dev/null"


def test_tests_and_benchmarks_run_without_any_limit() -> None:
    limits = (ROOT / ".env.example").read_text().split("# --- Limits ")[1].split("# --- ")[0]

    assert set(WITHOUT_LIMITS) == set(re.findall(r"^#([A-Z_]+)=", limits, re.MULTILINE))
