"""docs/explanation/decisions.md: numbered without a gap, and in the order of their dates."""

import re

from dev.process import ROOT

TEXT = (ROOT / "docs/explanation/decisions.md").read_text()
DECISIONS = re.findall(r"^## (\d+)\. .+\n\n\*(\d{4}-\d{2}-\d{2})\.\*$", TEXT, re.MULTILINE)


def test_each_has_a_number_and_a_date() -> None:
    assert len(DECISIONS) == len(re.findall(r"^## ", TEXT, re.MULTILINE))
    assert [int(number) for number, _ in DECISIONS] == list(range(1, len(DECISIONS) + 1))


def test_they_are_in_the_order_of_their_dates() -> None:
    dates = [date for _, date in DECISIONS]
    assert dates == sorted(dates)
