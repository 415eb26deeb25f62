"""SECURITY.md names the test that holds each requirement: they exist."""

import ast
import re

import pytest

from dev.process import ROOT

NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "SECURITY.md").read_text())))


def test_every_requirement_is_held_by_something() -> None:
    table = (ROOT / "SECURITY.md").read_text().split("| requirement | how | held by |\n")[1]
    rows = [line.strip("|").split("|") for line in table.split("\n\n")[0].splitlines()[1:]]
    requirements = [row for row in rows if not row[0].strip().startswith("**")]

    assert len(requirements) > 40
    assert all(held_by.strip() for _, _, held_by in requirements)


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_the_test_of_a_requirement_exists(path: str, name: str) -> None:
    module = ast.parse((ROOT / path).read_text())

    assert name in {node.name for node in module.body if isinstance(node, ast.FunctionDef)}
