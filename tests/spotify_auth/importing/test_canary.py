"""The first five: who waits for them, and what happens to the rest when they are not refreshed."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db.models.functions import Now
from pytest_django import Settings

from spotify_auth import connections, tokens, verbs
from spotify_auth.adopting import adopt
from spotify_auth.importing import canary
from spotify_auth.models import Cause, Outcome, SpotifyToken
from spotify_auth.verbs import Operator
from tests.support.imports import InAllauth, InSocialAuth, Place, run
from tests.support.lanes import refresh_next, sweep_just_now
from tests.support.processes import wait_for
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Elsewhere, account_of, grant_of, token_of

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("other_keepers_tables"),
]
NAMES = [f"user-{number}" for number in range(9)]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return InAllauth(tmp_path)


def test_nothing_is_moved_while_no_worker_runs(spotify: Sandbox, place: Place) -> None:
    place.fill(spotify, NAMES)

    ran = run("import", *place.arguments, "--apply")

    assert (ran.code, "No worker refreshes tokens" in ran.message) == (1, True)
    sweep_just_now()
    verbs.pause_all(operator=Operator.named("anna"), reason="r")
    ran = run("import", *place.arguments, "--apply")
    assert (ran.code, "paused by anna" in ran.message) == (1, True)
    assert place.left() == len(NAMES)


def test_refused_ones_stop_it_and_others_are_tried(
    spotify: Sandbox, place: Place, lanes: None
) -> None:
    users = place.fill(spotify, NAMES)
    spotify.revoke(*NAMES[-2:])  # of the newest, which come first

    ran = run("import", *place.arguments, "--apply")

    assert ran.code == 1
    assert "Spotify refused" in ran.message
    assert str(users[-1].pk) in ran.message or str(users[-2].pk) in ran.message
    assert SpotifyToken.objects.count() == 5
    assert place.left() == len(NAMES) - 5
    # Asked once more they may be refused once more; in the end there are five that live.
    for _ in range(5):
        ran = run("import", *place.arguments, "--apply")
        if ran.code == 0:
            break
    assert ran.code == 0, ran
    assert place.left() == 0


def test_not_refreshed_in_time_it_stops(
    spotify: Sandbox, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canary, "longest_wait", lambda: 0.3)
    place.fill(spotify, NAMES)
    sweep_just_now()

    ran = run("import", *place.arguments, "--apply")

    assert (ran.code, "5 of the first 5 were not refreshed within" in ran.message) == (1, True)
    # It goes on waiting for these, and moves no others.
    ran = run("import", *place.arguments, "--apply")
    assert (ran.code, place.left()) == (1, len(NAMES) - 5)


def test_a_worker_may_be_faster_than_the_import(spotify: Sandbox, place: Place) -> None:
    (user,) = place.fill(spotify, NAMES[:1])
    theirs = spotify.connect(NAMES[:1])[NAMES[0]]
    pair = {name: theirs[name] for name in ("access_token", "refresh_token", "scope")}
    adopt(user, **pair, expires_at=None, authorized_at=None)
    assert refresh_next() is Outcome.REFRESHED

    moved = canary.generation_of(user.pk)

    assert (moved, token_of(user).generation) == (1, 2)


def test_a_wrong_secret_stops_it_at_once(
    spotify: Sandbox, place: Place, lanes: None, settings: Settings
) -> None:
    settings.SPOTIFY_CLIENT_SECRET = "wrong"
    place.fill(spotify, NAMES)

    ran = run("import", *place.arguments, "--apply")

    assert (ran.code, "SPOTIFY_CLIENT_SECRET" in ran.message) == (1, True)
    assert place.left() >= len(NAMES) - 5


def test_a_login_meanwhile_is_newer_and_stays(
    spotify: Sandbox, place: Place, elsewhere: Elsewhere
) -> None:
    users = place.fill(spotify, NAMES)
    last = users[0]  # the oldest: it is not among the first five
    sweep_just_now()
    importing = elsewhere(run, "import", *place.arguments, "--apply")
    wait_for(lambda: SpotifyToken.objects.count() == 5, what="the first five to be moved")

    answer = spotify.connect([NAMES[0]])[NAMES[0]]
    connections.connect(
        user_id=last.pk, grant=grant_of(answer), issued_at=connections.database_now()
    )
    SpotifyToken.objects.exclude(pk=last.pk).update(generation=2)  # as if they were refreshed

    ran: Any = importing.result(timeout=120)
    assert ran.code == 0, ran
    assert "       1  stay" in ran.said
    assert token_of(last).refresh_token == answer["refresh_token"]
    assert account_of(spotify, token_of(last).access_token) == last.account_id
    # Nobody here has taken what lies there: it is left alone.
    assert place.left() == 1


def test_a_page_brings_its_own_user_forward(spotify: Sandbox, place: Place, lanes: None) -> None:
    place.fill(spotify, NAMES)
    run("import", *place.arguments, "--apply", "--spread", "60")
    waiting = SpotifyToken.objects.filter(generation=1, due_at__gt=Now() + timedelta(seconds=20))
    later = waiting.order_by("-due_at").first()
    assert later
    with pytest.raises(tokens.TokenStale):
        tokens.access_token_for(later.pk)

    assert tokens.nudge(later.pk, generation=1, cause=Cause.STALE_READ)

    wait_for(lambda: SpotifyToken.objects.get(pk=later.pk).generation == 2, what="its refresh")
    assert tokens.access_token_for(later.pk).generation == 2


@pytest.mark.parametrize(
    ("place_of", "arguments", "words"),
    [
        (InAllauth, ("--client-id", "other"), "has the client ID 'other'"),
        (InSocialAuth, ("--client-id", "other"), "has the client ID 'other'"),
    ],
)
def test_another_application_is_refused(
    spotify: Sandbox,
    tmp_path: Path,
    lanes: None,
    place_of: type[Place],
    arguments: tuple[str, ...],
    words: str,
) -> None:
    place = place_of(tmp_path)
    place.fill(spotify, NAMES[:2])

    for more in ((), ("--apply",)):
        ran = run("import", *place.arguments, *arguments, *more)
        assert (ran.code, words in ran.message) == (1, True)

    assert place.left() == 2
    report = json.loads(run("import", *place.arguments, *arguments, "--json").said)
    assert words in report["ended"]
