"""Which tests `make test` and `make test-fast` select."""

import re
import tomllib

import pytest

from dev.process import ROOT
from dev.test import FAST, PROCESSES, pytest_arguments


def test_everything_runs_in_several_processes() -> None:
    assert pytest_arguments([]) == ["-n", str(PROCESSES)]


def test_arguments_replace_that() -> None:
    assert pytest_arguments(["tests/accounts", "-x"]) == ["tests/accounts", "-x"]


@pytest.mark.parametrize("more", [[], ["tests/accounts", "-x"]])
def test_the_fast_tests_keep_their_selection(more: list[str]) -> None:
    assert pytest_arguments(["--fast", *more]) == [*FAST, *more]


def test_the_fast_tests_leave_out_every_marker_of_the_project() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    markers = {each.split(":")[0] for each in settings["tool"]["pytest"]["ini_options"]["markers"]}

    assert set(re.findall(r"not (\w+)", FAST[-1])) == markers


@pytest.mark.xdist_group("of_its_own")
def test_a_group_stays_in_one_process(request: pytest.FixtureRequest) -> None:
    """pytest-xdist looks for the group at the end of the id."""
    is_one_of_several = hasattr(request.config, "workerinput")

    assert request.node.nodeid.endswith("@of_its_own") is is_one_of_several
