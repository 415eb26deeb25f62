"""docs/explanation/where-to-look.md: every file and every name in it exists."""

import re

import pytest

from dev.process import ROOT

PAGE = ROOT / "docs/explanation/where-to-look.md"
RULES = re.findall(r"^\| ([^|]+?) \| ([^|]+) \|$", PAGE.read_text(), re.MULTILINE)[1:]
NAMED = re.findall(r"`(\w+)` in `([\w/]+\.py)`", PAGE.read_text())
FILES = sorted(set(re.findall(r"`([\w/]+\.py)`", PAGE.read_text())))


def test_ten_rules_have_a_place() -> None:
    assert len([rule for rule, _ in RULES if not rule.startswith("---")]) == 10


@pytest.mark.parametrize("path", FILES)
def test_the_file_exists(path: str) -> None:
    assert (ROOT / path).is_file()


@pytest.mark.parametrize(
    ("name", "path"),
    [pytest.param(*named, id=" in ".join(named)) for named in dict.fromkeys(NAMED)],
)
def test_the_name_is_defined_there(name: str, path: str) -> None:
    text = (ROOT / path).read_text()

    assert re.search(
        rf"^(?:(?:async )?def {name}\(|class {name}\b|{name}\b.* = )", text, re.MULTILINE
    )
