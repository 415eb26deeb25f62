"""What a test run is shielded from."""

import pytest

from dev.testing import settings_for_tests


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
