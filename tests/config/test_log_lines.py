"""Lines of the log as JSON: what the code says is a key, and nothing that a visitor says."""

import ast
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from django.test import RequestFactory

from config import log_context
from config.log_lines import LONGEST_TRACEBACK, LONGEST_VALUE, JsonLines, TextLines, keys_of
from dev.process import ROOT
from spotify_auth.models import Cause
from spotify_auth.text import for_the_log

METHODS = {"debug", "info", "warning", "error", "critical", "exception", "log"}
RESERVED = {
    *("timestamp", "level", "logger", "event", "process", "thread", "exception", "stack"),
    *("request_id", "task_id", "worker"),
}
USER = UUID("01939a3c-8a3c-7cc0-9c9a-2b6f5b0f2f11")
HOSTILE = 'x reason=fine user_id=7\n{"event": "refreshed"}\r\x1b[2J \u2028 \ud800 "'


@pytest.fixture(autouse=True)
def _outside_of_requests() -> Iterator[None]:
    log_context.end()
    yield
    log_context.end()


def record(
    message: Any, *args: Any, name: str = "spotify_auth.of_a_test", **more: Any
) -> logging.LogRecord:
    # As a logger makes it: `extra` becomes attributes.
    extra = more.pop("extra", None)
    logger = logging.getLogger(name)
    return logger.makeRecord(
        name, logging.INFO, "", 0, message, args, more.pop("exc_info", None), extra=extra, **more
    )


def as_json(message: Any, *args: Any, **more: Any) -> dict[str, Any]:
    text = JsonLines().format(record(message, *args, **more))
    assert text.isascii()
    assert "\n" not in text
    line: dict[str, Any] = json.loads(text)
    return line


def test_every_line_of_the_product_has_keys() -> None:
    """`event key=%s …`, as a constant: else a value could become a key."""
    lines = 0
    for path in sorted(
        path
        for app in ("accounts", "config", "spotify_auth")
        for path in (ROOT / app).rglob("*.py")
    ):
        if "sandbox" in path.parts:
            continue
        for call in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
                continue
            if call.func.attr not in METHODS or "log" not in ast.unparse(call.func.value):
                continue
            lines += 1
            place = f"{path.relative_to(ROOT)}:{call.lineno}"
            message, *values = call.args[1:] if call.func.attr == "log" else call.args
            assert isinstance(message, ast.Constant), place
            assert isinstance(message.value, str), place
            keys = keys_of(message.value)
            assert keys, f"{place}: {message.value}"
            names = [key for key, _ in keys]
            assert len(set(names)) == len(names), place
            assert not RESERVED & set(names[1:]), place
            assert sum(value.startswith("%") for _, value in keys) == len(values), place
    assert lines > 60


def test_values_keep_their_types() -> None:
    line = as_json(
        "refreshed user_id=%s generation=%s rotated=%s cause=%s used=%.0f ms=%.1f next=%s by=beat",
        *(USER, 8, True, Cause.SCHEDULE, 47.6, 12.34, None),
    )

    thread = {"process", "thread", "timestamp"}
    assert {key: line[key] for key in line if key not in thread} == {
        "level": "INFO",
        "logger": "spotify_auth.of_a_test",
        "event": "refreshed",
        "user_id": str(USER),
        "generation": 8,
        "rotated": True,
        "cause": "schedule",
        "used": 48,
        "ms": 12.3,
        "next": None,
        "by": "beat",
    }


def test_the_time_is_in_utc() -> None:
    line = record("refreshed")
    line.created = 1_795_700_000.9876

    assert json.loads(JsonLines().format(line))["timestamp"] == "2026-11-26T13:33:20.987Z"


@pytest.mark.parametrize("value", [HOSTILE, for_the_log(HOSTILE)])
def test_a_hostile_value_stays_one_value(value: str) -> None:
    line = as_json("login_failed user_id=%s reason=%s address=%s", 1, value, "::1")

    assert line["event"] == "login_failed"
    assert (line["user_id"], line["address"]) == (1, "::1")
    assert line["reason"] == (value if value is HOSTILE else value[1:-1])


@pytest.mark.parametrize(
    ("message", "args"),
    [
        ("refreshed user_id=7", ()),  # made of somebody's words by a library
        ("%s", (HOSTILE,)),
        ("Not Found: %s", (HOSTILE,)),
        ("%(event)s", ({"event": "refreshed"},)),
    ],
)
def test_a_line_of_a_library_has_a_message_and_no_event(message: str, args: tuple[Any]) -> None:
    line = as_json(message, *args, name="django.request")

    assert "event" not in line
    assert line["message"] == record(message, *args).getMessage()


def test_what_libraries_hang_on_a_line_is_not_shown() -> None:
    request = RequestFactory().get("/spotify/callback/", {"code": "the-code"})

    line = JsonLines().format(
        record("x", name="django.request", extra={"request": request, "data": {"args": "a-secret"}})
    )

    assert "the-code" not in line
    assert "a-secret" not in line


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_json_lacks_are_text(number: float) -> None:
    assert as_json("refreshed ms=%.0f used=%s", number, number)["ms"] == str(number)


def test_a_traceback_is_one_field() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        line = as_json("uncaught reason=%s", "ValueError", exc_info=sys.exc_info())

    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("ValueError: two\nlines")


def test_a_line_is_never_too_long_for_docker() -> None:
    try:
        raise ValueError("\u20ac" * 10**5 + "the end")
    except ValueError:
        line = as_json("uncaught reason=%s", "x" * 10**5, exc_info=sys.exc_info())

    assert len(line["reason"]) < LONGEST_VALUE + 10
    assert len(line["exception"]) < LONGEST_TRACEBACK + 10
    assert line["exception"].endswith("the end")


def test_ids_are_in_both_formats() -> None:
    log_context.begin(request_id="request-1", task_id="task-1", worker="w@host")

    line, text = as_json("refreshed user_id=%s", 1), TextLines().format(record("refreshed"))

    assert (line["request_id"], line["task_id"], line["worker"]) == (
        "request-1",
        "task-1",
        "w@host",
    )
    assert text.endswith(
        " INFO spotify_auth.of_a_test refreshed request_id=request-1 task_id=task-1"
    )
