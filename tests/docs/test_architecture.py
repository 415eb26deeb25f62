"""docs/explanation/architecture.md: the shape of the table that the rules are held to."""

import re

from dev.process import ROOT

PAGE = (ROOT / "docs/explanation/architecture.md").read_text()
SECTION = PAGE.split("\n## What each answer means\n", 1)[1].split("\n## ", 1)[0]
TABLE = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$", SECTION, re.MULTILINE)


def test_the_table_has_its_four_columns() -> None:
    assert TABLE[0] == ("answer", "condition", "the row", "everybody else")
    assert len(TABLE) > 15


def test_each_row_is_another_rule() -> None:
    rules = [(answer, condition) for answer, condition, _, _ in TABLE[1:]]
    assert len(set(rules)) == len(rules)


def test_every_answer_is_a_value_that_the_page_defines() -> None:
    before = PAGE.split("\n## What each answer means\n", 1)[0]
    named = {word for answer, *_ in TABLE[1:] for word in re.findall(r"`(\w+)`", answer)}

    assert named
    assert all(f"`{word}`" in before for word in named)
