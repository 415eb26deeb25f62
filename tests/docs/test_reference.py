"""docs/reference/ holds what the code has: settings, commands, codes. And one SQL statement."""

import re

import pytest
from django.db import connection

from config import settings
from config.celery import app
from dev.process import ROOT
from spotify_auth.cooldown import Reason
from spotify_auth.models import Cause, Outcome
from spotify_auth.sandbox.control import ACTION_NAMES
from spotify_auth.sandbox.faults import FAULTS
from spotify_auth.sandbox.personas import PERSONAS
from spotify_auth.sandbox.worlds import DEFAULT, World
from tests.support.tokens import Connect

REFERENCE = ROOT / "docs/reference"
ENV_EXAMPLE = (ROOT / ".env.example").read_text()


def first_cells(page: str, heading: str) -> list[str]:
    """The words in backticks in the first column of the table under a heading."""
    text = (REFERENCE / page).read_text()
    section = re.split(r"^## ", text.split(f"## {heading}\n", 1)[1], flags=re.MULTILINE)[0]
    cells = re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE)
    return [word for cell in cells for word in re.findall(r"`([^`]+)`", cell)]


def setting_rows() -> dict[str, str]:
    """Each setting in a table, and its default."""
    rows = re.findall(
        r"^\| ([^|]*`[A-Z_]+`[^|]*) \|[^|]+\|(?: ([^|]+) \|)?$",
        (REFERENCE / "settings.md").read_text(),
        re.MULTILINE,
    )
    found: dict[str, str] = {}
    for cell, default in rows:
        names = re.findall(r"`([A-Z_]+)`", cell)
        defaults = default.split(", ") if default.count(",") == len(names) - 1 else [default]
        found |= dict(zip(names, defaults * len(names), strict=False))
    return found


def test_every_setting_has_a_row() -> None:
    service, local = ENV_EXAMPLE.split("# --- Only for `make run`")
    assert set(setting_rows()) == set(re.findall(r"^#([A-Z_]+)=", service, re.MULTILINE))
    assert set(settings.env.names) <= set(setting_rows())

    last = (REFERENCE / "settings.md").read_text().rsplit("`make run` also reads", 1)[1]
    assert set(re.findall(r"`([A-Z_]+)`", last)) == set(
        re.findall(r"^#([A-Z_]+)=", local, re.MULTILINE)
    )


def test_the_defaults_are_those_of_env_example() -> None:
    examples = dict(re.findall(r"^#([A-Z_]+)=(\S+)$", ENV_EXAMPLE, re.MULTILINE))
    numbers = {name: value for name, value in setting_rows().items() if re.match(r"[\d.]+$", value)}

    assert len(numbers) > 10
    assert numbers == {name: examples[name] for name in numbers}


def test_every_fault_persona_and_action_of_the_sandbox_has_a_row() -> None:
    assert set(first_cells("sandbox.md", "Faults")) == set(FAULTS)
    assert set(first_cells("sandbox.md", "Personas")) == set(PERSONAS)
    addresses = {cell.split()[-1] for cell in first_cells("sandbox.md", "Control addresses")}
    programs = {"faults", "release", "connect", "stats", "reset"}
    assert addresses == {f"/__{name}" for name in {*ACTION_NAMES, *programs}}


def test_both_worlds_have_a_row() -> None:
    assert first_cells("sandbox.md", "Two worlds") == list(World)
    assert f"#SANDBOX_WORLD={DEFAULT}\n" in ENV_EXAMPLE


def test_every_target_of_make_has_a_row() -> None:
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert set(first_cells("commands.md", "`make`")) == {f"make {target}" for target in targets}


def test_every_process_of_the_procfile_has_a_row() -> None:
    processes = re.findall(r"^(\w+):", (ROOT / "Procfile").read_text(), re.MULTILINE)

    assert first_cells("commands.md", "Processes") == processes


def test_every_task_has_a_row() -> None:
    app.loader.import_default_modules()
    ours = {name for name in app.tasks if name.startswith(("accounts.", "spotify_auth."))}

    assert set(first_cells("commands.md", "Celery tasks")) == ours


@pytest.mark.parametrize(
    ("heading", "codes"),
    [
        ("Outcomes of an event", Outcome),
        ("Causes of an event", Cause),
        ("Reasons of a cool-down", Reason),
    ],
)
def test_every_code_has_a_row(heading: str, codes: type[Outcome] | type[Cause]) -> None:
    assert set(first_cells("failure-codes.md", heading)) == {code.value for code in codes}


@pytest.mark.parametrize("heading", ["Errors of a token", "Reasons of a failed login"])
def test_every_row_is_a_code_of_the_code(heading: str) -> None:
    written = "\n".join(
        path.read_text()
        for room in ("accounts", "spotify_auth")
        for path in (ROOT / room).rglob("*.py")
    )

    for code in first_cells("failure-codes.md", heading):
        if not re.fullmatch(r"http_\d+", code):  # made of the status
            assert f'"{code}"' in written, code


@pytest.mark.django_db
def test_rows_are_counted_by_key(connect: Connect) -> None:
    connect()
    (sql,) = re.findall(
        r"```sql\n(.*?)```", (ROOT / "docs/how-to/add-a-key.md").read_text(), re.DOTALL
    )

    with connection.cursor() as cursor:
        cursor.execute(sql)
        counted = cursor.fetchall()

    assert [(len(key), count) for key, count in counted] == [(8, 1)]
