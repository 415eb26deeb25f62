"""docs/explanation/failures.md says of each state and each loss what the code and the tests say."""

import ast

import pytest

from benchmarks.soak.config import long_config
from dev.process import ROOT
from spotify_auth.sandbox.worlds import World
from tests.support.expectations import APPEALS, LOSSES, STATES

STATES_TABLE = "| state | what ends it | at the latest |"
LOSSES_TABLE = "| failure, after Spotify has rotated | what happens | lost |"
PAGE = (ROOT / "docs/explanation/failures.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The cells of the table with this heading, without its first two lines."""
    table = PAGE.split(f"{heading}\n", 1)[1].split("\n\n", 1)[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1:]]


def test_each_state_ends_when_the_page_says() -> None:
    assert {state: latest for state, _, latest in rows(STATES_TABLE)} == STATES


def test_the_page_says_when_a_verdict_is_appealed() -> None:
    ends = {state: how for state, how, _ in rows(STATES_TABLE)}

    assert APPEALS in ends["reconnect required"]


def test_each_loss_of_the_page_is_shown_by_a_test() -> None:
    assert [failure for failure, _, _ in rows(LOSSES_TABLE)] == list(LOSSES)


@pytest.mark.parametrize("test", LOSSES.values())
def test_the_test_of_a_loss_exists(test: str) -> None:
    path, name = test.split("::")
    module = ast.parse((ROOT / path).read_text())

    assert name in {node.name for node in module.body if isinstance(node, ast.FunctionDef)}


def test_the_page_says_within_what_time_the_soak_must_tell_the_revoked() -> None:
    soak = long_config(seed=0, world=World.ROTATING, minutes=15, users=500)

    assert f"({soak.told_within:.0f} s and {soak.judged_within:.0f} s)" in PAGE
