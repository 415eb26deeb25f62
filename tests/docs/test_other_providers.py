"""docs/explanation/other-providers.md: each line of the module is explained, and nothing else."""

import re

import pytest

from dev.process import ROOT

PAGE = (ROOT / "docs/explanation/other-providers.md").read_text()
MODULE = "spotify_auth/accounts_service/spotify.py"
ROWS = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", PAGE, re.MULTILINE)


def test_the_table_has_every_line_of_the_module() -> None:
    explained = [name for row in ROWS for name in re.findall(r"\w+", row)]
    text = (ROOT / MODULE).read_text()
    lines = re.findall(r"^([A-Z_]+) = |^def (client_\w+)\(", text, re.MULTILINE)

    assert MODULE in PAGE
    assert sorted(explained) == sorted(constant or function for constant, function in lines)


@pytest.mark.parametrize(
    ("names", "path"), re.findall(r"((?:`\w+`(?: and )?)+) in `([\w/]+\.py)`", PAGE)
)
def test_the_names_besides_exist(names: str, path: str) -> None:
    (file,) = (
        found
        for found in (ROOT / "spotify_auth").rglob("*.py")
        if f"/{found.relative_to(ROOT)}".endswith(f"/{path}")
    )

    for name in re.findall(r"\w+(?=`)", names):
        assert re.search(rf"^(def {name}\(|{name} = )", file.read_text(), re.MULTILINE), name


def test_the_lines_are_used_and_their_values_stand_nowhere_else() -> None:
    sources = {
        path: path.read_text()
        for path in (ROOT / "spotify_auth").rglob("*.py")
        if not {"sandbox", "testing", "migrations"} & set(path.parts)
    }
    own = sources.pop(ROOT / MODULE)
    others = "\n".join(sources.values())

    for name in re.findall(r"^([A-Z_]+) = ", own, re.MULTILINE):
        assert f"spotify.{name}" in others or f"({name})" in own, name
    values = (
        '/api/token"',
        '/authorize"',
        '"show_dialog"',
        '"S256"',
        "6 months",
        '"Basic ',
        "}/v1",
    )
    for value in values:
        assert value not in others, value
