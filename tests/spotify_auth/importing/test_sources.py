"""Each source as its library leaves it: rehearsed, moved, and moved once."""

import logging
import sys
from datetime import timedelta
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
from django.db.models.functions import Now

from spotify_auth.models import SpotifyToken, TokenEvent
from tests.support.imports import (
    CLIENT,
    PLACES,
    InCsv,
    Place,
    assert_everybody_is_kept,
    counts,
    run,
)
from tests.support.sandbox_client import Sandbox

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("other_keepers_tables"),
]
NAMES = [f"user-{number}" for number in range(8)]


@pytest.fixture(params=PLACES, ids=lambda place: place.source)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    chosen: type[Place] = request.param
    return chosen(tmp_path)


def test_all_are_moved_and_none_twice(
    spotify: Sandbox, place: Place, lanes: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    users = place.fill(spotify, NAMES)
    before = place.left()

    rehearsed = run("import", *place.arguments)

    assert (rehearsed.code, "8  would be moved" in rehearsed.said) == (0, True)
    assert "Nothing was changed" in rehearsed.said
    assert not SpotifyToken.objects.exists()
    assert place.left() == before

    moved = run("import", *place.arguments, "--apply")

    assert (moved.code, moved.message) == (0, "")
    assert "       8  moved" in moved.said
    assert place.left() == 0
    # Five at once, and the others over the ten minutes.
    assert SpotifyToken.objects.filter(generation__gt=1).count() >= 5
    others = SpotifyToken.objects.filter(generation=1)
    assert others.filter(due_at__lte=Now() + timedelta(minutes=10)).count() == others.count()
    assert TokenEvent.objects.filter(cause="adopted", outcome="connected").count() == 8

    again = counts(*place.arguments, "--apply")

    assert (again["ended"], again["moved"], again["bad"]) == ("done", 0, 0)
    assert TokenEvent.objects.filter(cause="adopted").count() == 8
    assert_everybody_is_kept(spotify, users)
    said = rehearsed.said + moved.said + str(again) + caplog.text
    assert len(place.secrets) == 16
    assert not any(secret in said for secret in place.secrets)


def test_through_a_pipe(
    spotify: Sandbox, tmp_path: Path, lanes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = InCsv(tmp_path)
    users = place.fill(spotify, NAMES)
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(place.path.read_bytes())))

    report = counts("--from", "csv", "--file", "-", *CLIENT, "--apply")

    assert (report["ended"], report["moved"], report["refreshed"]) == ("done", 8, 5)
    assert_everybody_is_kept(spotify, users)
