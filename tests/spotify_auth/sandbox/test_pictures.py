import xml.etree.ElementTree as ElementTree

import pytest
import requests

from spotify_auth.sandbox.pictures import draw
from tests.support.sandbox_client import Sandbox


def test_pictures_may_be_cached_for_ever(sandbox: Sandbox) -> None:
    response = requests.get(f"{sandbox.url}/pictures/some-cover.svg", timeout=10)

    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("image/svg+xml")
    assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert response.text == draw("some-cover")


def test_different_names_have_different_pictures() -> None:
    assert len({draw(f"cover-{number}") for number in range(50)}) > 40


def test_every_picture_is_well_formed() -> None:
    for number in range(50):
        ElementTree.fromstring(draw(f"cover-{number}"))  # noqa: S314 - our own


@pytest.mark.parametrize("name", ["UPPER", "a.b", "a%20b", "x" * 65, "%3Csvg%3E"])
def test_refuses_names_that_no_picture_has(sandbox: Sandbox, name: str) -> None:
    assert requests.get(f"{sandbox.url}/pictures/{name}.svg", timeout=10).status_code == 404
