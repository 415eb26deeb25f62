"""Each source as its library leaves it: rehearsed, moved, and moved once."""

import logging
import sys
from datetime import timedelta
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
from django.db.models import Model
from django.db.models.functions import Now
from pytest_django import Settings

from accounts.models import User
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
    assert counts(*place.arguments)["moved"] == 0  # nor does a rehearsal say so
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


def test_what_spotify_refused_here_is_not_brought_again(
    spotify: Sandbox, tmp_path: Path, lanes: None
) -> None:
    place = InCsv(tmp_path)
    (user,) = place.fill(spotify, ["user-1"])
    assert counts(*place.arguments, "--apply")["moved"] == 1
    (_, line) = place.path.read_text().splitlines()
    pair = dict(zip(("access_token", "refresh_token"), line.split(",")[1:], strict=False))
    SpotifyToken.objects.all().delete()
    _require_reconnect(user, **pair)

    assert_nothing_is_moved(place)

    place.path.unlink()
    place.put(user, spotify.connect(["user-1"])["user-1"])
    assert counts(*place.arguments, "--apply")["moved"] == 1


def test_a_reconnect_that_an_administrator_requires_is_not_undone(
    spotify: Sandbox, tmp_path: Path, lanes: None
) -> None:
    place = InCsv(tmp_path)
    (user,) = place.fill(spotify, ["user-1"])
    newer = dict.fromkeys(("access_token", "refresh_token"), "a newer one")
    _require_reconnect(user, **newer, last_error="required_by_admin")

    assert_nothing_is_moved(place)


def _require_reconnect(user: User, **fields: str) -> None:
    times = ("authorized_at", "reauthorize_by", "refreshed_at", "expires_at", "due_at")
    status = SpotifyToken.Status.RECONNECT_REQUIRED
    token = SpotifyToken(user=user, status=status, **fields, **dict.fromkeys(times, Now()))
    token.save(force_insert=True)


def assert_nothing_is_moved(place: Place) -> None:
    """What is here stays, and a rehearsal says so."""
    for more in ((), ("--apply",)):
        report = counts(*place.arguments, *more)
        assert (report["moved"], report["kept"]) == (0, 1)


class _Elsewhere:
    """A router that keeps allauth's tables, and the sessions, in another database."""

    def db_for_write(self, model: type[Model], **hints: object) -> str | None:
        return "other" if model._meta.app_label in {"socialaccount", "sessions"} else None


def test_tables_in_another_database_are_refused(tmp_path: Path, settings: Settings) -> None:
    settings.DATABASE_ROUTERS = [_Elsewhere()]

    sessions = ("import", "--from", "spotipy-sessions", *CLIENT)
    for command in (("import", "--from", "allauth"), ("export", "--to", "allauth"), sessions):
        ran = run(*command)
        assert (ran.code, "in another database" in ran.message) == (1, True)
