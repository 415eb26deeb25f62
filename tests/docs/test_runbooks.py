"""docs/how-to/runbooks/: one form, commands that exist, and a page for every alert that wakes."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from dev.process import ROOT

ROOM = ROOT / "docs/how-to/runbooks"
INDEX = ROOM / "index.md"
PAGES = sorted(set(ROOM.glob("*.md")) - {INDEX})
PARTS = ["What you see", "Is it real?", "What to do", "It is over when", "What users saw"]
RULES = yaml.safe_load((ROOT / "docs/how-to/prometheus/spotify-token-keeper.rules.yml").read_text())
ALERTS = {rule["alert"] for group in RULES["groups"] for rule in group["rules"] if "alert" in rule}


def commands(text: str) -> list[str]:
    """What stands behind `manage.py`, in blocks and in lines."""
    return re.findall(r"(?:manage\.py|keeper-manage) ([^`\n]+)", text)


def parse(command: str) -> None:
    """As manage.py would. Raises CommandError."""
    name, *words = shlex.split(command)
    found = get_commands()[name]
    loaded = found if isinstance(found, BaseCommand) else load_command_class(found, name)
    loaded.create_parser("manage.py", name).parse_args(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_the_five_parts_and_a_command_to_look(page: Path) -> None:
    assert re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE) == PARTS
    look = page.read_text().split(f"## {PARTS[1]}\n")[1].split("\n## ")[0]
    assert "```" in look


@pytest.mark.parametrize("page", [INDEX, *PAGES], ids=lambda page: page.stem)
def test_every_command_exists(page: Path) -> None:
    found = commands(page.read_text())

    assert found
    for command in found:
        parse(command)


def test_a_command_that_does_not_exist_is_seen() -> None:
    with pytest.raises(CommandError):
        parse("tokens forgive --no-such-option")


def test_every_alert_is_in_the_index_and_every_name_is_an_alert() -> None:
    named = set(re.findall(r"`(Spotify[A-Z]\w+)`", INDEX.read_text()))

    assert named == ALERTS
    for page in PAGES:
        assert set(re.findall(r"`(Spotify[A-Z]\w+)`", page.read_text())) <= ALERTS, page


def test_what_a_page_tells_to_look_for_is_explained() -> None:
    """Lines of the log, codes, and words of `tokens status`."""
    reference = "".join(path.read_text() for path in (ROOT / "docs/reference").glob("*.md"))

    for page in [INDEX, *PAGES]:
        for word in re.findall(r"`([a-z]+(?:_[a-z]+)+)`", page.read_text()):
            assert re.search(rf"\b{word}\b", reference), f"{page.name}: {word}"


@pytest.mark.django_db
def test_every_query_runs() -> None:
    queries = [
        sql
        for page in PAGES
        for sql in re.findall(r"```sql\n(.*?)```", page.read_text(), re.DOTALL)
    ]

    assert queries
    for sql in queries:
        with connection.cursor() as cursor:
            cursor.execute(sql)
