"""Every relative link and anchor of the documentation leads somewhere, and nothing is orphaned."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from dev.process import ROOT

INDEX = ROOT / "docs/index.md"
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "CHANGELOG.md",
        *ROOT.glob("docs/**/*.md"),
    ]
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|^\[[^\]]+\]:\s+(\S+)$", re.MULTILINE)
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
MENTIONED = re.compile(
    r"`((?:\.env\.example|(?:accounts|benchmarks|config|deploy|dev|docs|requirements|spotify_auth|tests)/)"
    r"[\w./*-]*)`"
)
FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """The text of a page without its code blocks."""
    return FENCE.sub("", page.read_text())


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """The target and the anchor of each relative link."""
    for inline, reference in LINK.findall(prose(page)):
        target = inline or reference
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            yield (page.parent / unquote(path)).resolve() if path else page, anchor


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    found: set[str] = set()
    for heading in HEADING.findall(prose(page)):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        repeated = sum(1 for other in found if re.fullmatch(rf"{re.escape(slug)}(-\d+)?", other))
        found.add(f"{slug}-{repeated}" if repeated else slug)
    return found


def linked_from(page: Path) -> set[Path]:
    return {target for target, _ in links(page)}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_to_a_file_and_an_anchor(page: Path) -> None:
    for target, anchor in links(page):
        assert target.exists(), f"{name_of(page)} links to {target}"
        if anchor:
            assert anchor in anchors(target), f"{name_of(page)} links to {target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    for path in set(MENTIONED.findall(prose(page))):
        assert list(ROOT.glob(path.rstrip("/"))), f"{name_of(page)} names {path}"


def test_everything_in_docs_is_reached_from_the_index() -> None:
    reached, waiting = {INDEX}, [INDEX]
    while waiting:
        new = {page for page in linked_from(waiting.pop()) if page.is_relative_to(ROOT / "docs")}
        waiting += [page for page in new - reached if page.suffix == ".md"]
        reached |= new

    # The README shows the picture of the pages.
    assert {path for path in (ROOT / "docs").rglob("*") if path.is_file()} - reached == {
        ROOT / "docs/images/pages.png"
    }


@pytest.mark.parametrize(
    "room", ["accounts", "benchmarks", "config", "dev", "spotify_auth", "tests"]
)
def test_every_page_that_the_code_names_exists(room: str) -> None:
    for module in (ROOT / room).rglob("*.py"):
        for path in re.findall(r"\bdocs/[\w/-]+\.(?:md|json)\b", module.read_text()):
            assert (ROOT / path).exists(), f"{name_of(module)} names {path}"
