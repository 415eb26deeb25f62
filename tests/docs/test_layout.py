"""The rule of tests/support: what several test modules need is there, or in a conftest."""

import ast
from pathlib import Path

from dev.process import ROOT

MODULES = sorted((ROOT / "tests").rglob("*.py"))


def imported(module: Path) -> set[str]:
    """The modules of tests/ that a module names in its imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = node.module or ""
            if node.level:
                above = module.relative_to(ROOT).parts[: -node.level]
                package = ".".join([*above, *([package] if package else [])])
            names |= {package, *(f"{package}.{alias.name}" for alias in node.names)}
    return {name for name in names if name.startswith("tests.")}


def test_no_module_imports_a_test_module() -> None:
    for module in MODULES:
        parts = {part for name in imported(module) for part in name.split(".")}
        assert not {part for part in parts if part.startswith("test_")}, module


def test_helpers_import_nothing_but_helpers() -> None:
    for module in (ROOT / "tests/support").rglob("*.py"):
        assert all(name.startswith("tests.support") for name in imported(module)), module
