"""A lost server is one line; every other error keeps its traceback."""

import logging

import pytest
import redis
from django.db import OperationalError

from config import outage_lines
from config.outage_lines import OneLineAnOutage


@pytest.fixture
def logger(caplog: pytest.LogCaptureFixture) -> logging.Logger:
    logger = logging.Logger("of this test")
    logger.addHandler(caplog.handler)
    logger.addFilter(OneLineAnOutage())
    return logger


def fail(
    logger: logging.Logger, error: Exception, message: str = "Task %s raised: %s\nmore"
) -> None:
    try:
        try:
            raise error
        except type(error) as cause:
            raise RuntimeError("of Celery's") from cause
    except RuntimeError:
        logger.error(message, "name", error, exc_info=True)


@pytest.mark.parametrize("error", [OperationalError("x"), redis.ConnectionError("x"), OSError("x")])
def test_a_lost_server_is_one_line_a_minute(
    logger: logging.Logger,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for _ in range(3):
        fail(logger, error)

    assert caplog.messages == [f"Task name raised: x reason={type(error).__name__}"]
    assert "Traceback" not in caplog.text
    monkeypatch.setattr(outage_lines, "REPEAT_SECONDS", 0.0)
    fail(logger, error)
    assert len(caplog.messages) == 2


def test_any_other_error_keeps_its_traceback_each_time(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        fail(logger, ValueError("x"), "Task %s raised: %s")

    assert caplog.text.count("Traceback") >= 2
    assert len(caplog.messages) == 2


def test_a_line_of_several_lines_becomes_one(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    for attempt in range(2):
        logger.error("Cannot connect to %s.\n%s\n", "redis", f"Trying again ({attempt}/100)")
    logger.error("Cannot connect to %s.\n%s\n", "another", "Trying again (1/100)")

    assert caplog.messages == [
        "Cannot connect to redis. Trying again (0/100)",
        "Cannot connect to another. Trying again (1/100)",
    ]


def test_what_is_no_warning_is_never_dropped(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        logger.info("Connected")

    assert caplog.messages == ["Connected"] * 2
