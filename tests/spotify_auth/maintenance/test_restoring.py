"""After a restored backup no token of it is shown to Spotify, unless it is still good."""

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from io import StringIO

import pytest
import redis
from django.core.management import CommandError, call_command
from django.db import connection as database
from django.db.models import F
from django.db.models.functions import Now
from django.test import Client
from pytest_django import Settings

from accounts.models import User
from dev.process import free_port
from spotify_auth import connections, cooldown, verbs
from spotify_auth.cooldown import Reason
from spotify_auth.maintenance import survey
from spotify_auth.maintenance.restoring import AfterRestore
from spotify_auth.models import Notice, Outcome, SpotifyToken
from spotify_auth.refresh import lanes
from spotify_auth.verbs import Operator
from tests.support.answers import after_the_answer
from tests.support.backup import back_up, forget_backup, restore
from tests.support.claims import begin
from tests.support.database_faults import cut_the_connection, locked_elsewhere
from tests.support.keys import NEW, OLD, keys
from tests.support.lanes import refresh_next
from tests.support.sandbox_client import Sandbox
from tests.support.signals import hearing, names
from tests.support.tokens import (
    Connect,
    account_of,
    grant_of,
    make_due,
    make_long_refused,
    token_of,
)

pytestmark = pytest.mark.django_db(transaction=True)

USERS = 8


@pytest.fixture(autouse=True)
def no_copies_are_left() -> Iterator[None]:
    yield
    forget_backup()


@pytest.fixture
def people(connect: Connect) -> list[User]:
    return [connect(f"user-{n}", due=False) for n in range(USERS)]


def refresh_all(people: list[User]) -> None:
    for person in people:
        make_due(person)
        assert refresh_next() is Outcome.REFRESHED


def after_restore(moment: datetime, *arguments: str) -> str:
    """What the command writes. Raises CommandError."""
    out = StringIO()
    call_command(
        "tokens", "after-restore", "--backup-at", moment.isoformat(), *arguments, stdout=out
    )
    return out.getvalue()


def hours_pass(hours: int) -> None:
    """Time goes by for every token."""
    span = timedelta(hours=hours)
    names = ("refreshed_at", "expires_at", "due_at", "appeal_at", "suspected_at")
    SpotifyToken.objects.update(**{name: F(name) - span for name in names})


def a_minute_passes(settings: Settings) -> None:
    """Redis forgets what was stored; what PostgreSQL did not take stays for a week."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        for key in client.scan_iter("spotify_auth:rescued:*"):
            if client.pttl(key) <= 60_000:
                client.delete(key)


def work() -> None:
    """Let lanes do whatever there is."""
    for _ in range(4 * USERS):
        if refresh_next() is None:
            break


def attempted(spotify: Sandbox) -> int:
    count: int = spotify.stats()["totals"]["refreshes_attempted"]
    return count


def test_no_token_of_the_backup_is_ever_presented(
    people: list[User], spotify: Sandbox, settings: Settings
) -> None:
    spotify.faults("reuse_revokes_grant")
    moment = back_up()
    refresh_all(people)
    restore()
    a_minute_passes(settings)
    before = attempted(spotify)

    after_restore(moment, "--yes")
    for hours in (0, 2, 7, 25, 24 * 30):
        hours_pass(hours)
        work()

    assert attempted(spotify) == before
    assert spotify.stats()["totals"]["reuses_of_dead_token"] == 0
    assert set(SpotifyToken.objects.values_list("status", "last_error", "appeal_at")) == {
        ("reconnect_required", "backup_restored", None)
    }
    event = people[0].spotify_auth_events.first()
    assert event
    assert (event.cause, event.asked_by, event.outcome, event.error) == (
        "admin",
        "manage.py tokens after-restore",
        "reconnect_required",
        "backup_restored",
    )


def test_a_paused_token_of_the_backup_is_not_presented_either(
    people: list[User], spotify: Sandbox, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, newer = people[:2]
    anna = Operator.named("anna")
    for person in (old, newer):
        assert verbs.pause(person.pk, operator=anna, reason="r").is_done
    moment = back_up()
    verbs.resume(newer.pk, operator=anna, reason="r")
    after_the_answer(monkeypatch, cut_the_connection)  # its grant is saved in Redis
    lanes.run_lane()
    restore()
    before = attempted(spotify)

    after_restore(moment, "--yes")

    assert (token_of(old).status, token_of(old).last_error) == (
        "reconnect_required",
        "backup_restored",
    )
    assert (token_of(newer).status, token_of(newer).generation) == ("paused", 2)
    assert account_of(spotify, token_of(newer).access_token) == newer.account_id
    work()
    assert attempted(spotify) == before


def test_the_page_says_what_happened_and_a_login_ends_it(
    people: list[User], spotify: Sandbox, settings: Settings
) -> None:
    moment = back_up()
    refresh_all(people)
    restore()
    a_minute_passes(settings)
    after_restore(moment, "--yes")
    browser = Client()
    browser.force_login(people[0])

    page = browser.get("/connection/").content.decode()
    assert "We had to restore a backup of this site" in page
    assert browser.get("/api/dashboard-data").json()["reason"] == "backup_restored"

    log_in_again(people[0], spotify, "user-0")
    make_due(people[0])
    assert refresh_next() is Outcome.REFRESHED


def log_in_again(user: User, spotify: Sandbox, persona: str) -> None:
    connections.connect(
        user_id=user.pk,
        account_id=user.account_id,
        grant=grant_of(spotify.connect([persona])[persona]),
        issued_at=connections.database_now(),
    )


def test_who_logged_in_after_the_restore_is_left_alone(
    people: list[User], spotify: Sandbox, settings: Settings
) -> None:
    moment = back_up()
    refresh_all(people)
    restore()
    a_minute_passes(settings)
    log_in_again(people[0], spotify, "user-0")

    said = after_restore(moment, "--yes")

    assert "1 tokens are newer than the backup and are left alone" in said
    assert token_of(people[0]).status == "active"
    assert SpotifyToken.objects.filter(status="reconnect_required").count() == USERS - 1
    make_due(people[0])
    assert refresh_next() is Outcome.REFRESHED


def test_a_verdict_of_the_backup_is_no_longer_appealed(
    people: list[User], spotify: Sandbox
) -> None:
    SpotifyToken.objects.filter(pk=people[0].pk).update(
        status="reconnect_required",
        last_error="invalid_grant",
        appeal_at=Now() + timedelta(hours=1),
    )
    moment = back_up()
    restore()
    before = attempted(spotify)

    after_restore(moment, "--yes")
    hours_pass(30)
    work()

    assert attempted(spotify) == before
    token = token_of(people[0])
    assert (token.last_error, token.appeal_at) == ("invalid_grant", None)


def test_erased_tokens_stay_as_they_are(people: list[User]) -> None:
    connections.disconnect(user_id=people[0].pk)
    connections.revoke(user_id=people[1].pk)
    moment = back_up()

    after_restore(moment, "--yes")

    assert token_of(people[0]).status == "disconnected"
    assert token_of(people[1]).status == "revoked"


def test_a_dry_run_counts_and_changes_nothing(people: list[User], settings: Settings) -> None:
    moment = back_up()
    before = list(SpotifyToken.objects.order_by("pk").values("status", "due_at", "last_error"))

    said = after_restore(moment, "--dry-run")

    assert f"{USERS} users are connected with a token of the backup" in said
    assert "Nothing was changed" in said
    assert (
        list(SpotifyToken.objects.order_by("pk").values("status", "due_at", "last_error")) == before
    )
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        assert client.keys("spotify_auth:cooldown:*") == []


def test_without_a_terminal_and_without_yes_nothing_is_changed(people: list[User]) -> None:
    moment = back_up()

    with pytest.raises(CommandError, match="Nothing was changed"):
        after_restore(moment)

    assert SpotifyToken.objects.filter(status="active").count() == USERS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("yesterday", "is no time such as 2026-"),
        ("2026-11-26T03:00:00", "has no time zone"),
        ("2999-01-01T00:00:00Z", "lies in the future: by PostgreSQL's clock"),
    ],
)
def test_a_moment_that_cannot_be_is_refused(text: str, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        call_command("tokens", "after-restore", "--backup-at", text, stdout=StringIO())


def test_all_refreshing_pauses_until_it_is_done(
    people: list[User], spotify: Sandbox, settings: Settings
) -> None:
    for person in people:
        make_due(person)
    moment = back_up()
    before = attempted(spotify)
    stopping = threading.Event()
    restoring_now = AfterRestore(
        moment,
        not_rotated=False,
        spread=0,
        stopping=stopping,
        progress=lambda rows: stopping.set(),
    )
    held = "SELECT FROM spotify_auth_spotifytoken WHERE user_id = %s FOR UPDATE"
    with locked_elsewhere(held, people[0].pk):
        restoring_now.run()  # was told to stop: one row is left

    work()
    assert attempted(spotify) == before
    assert cooldown.reason() == Reason.RESTORING
    assert token_of(people[0]).status == "active"

    after_restore(moment, "--yes")
    work()
    assert attempted(spotify) == before
    assert cooldown.reason() == ""
    assert not SpotifyToken.objects.filter(status="active").exists()


def test_a_page_that_waits_meanwhile_says_why(connect: Connect) -> None:
    user = connect()
    make_due(user, expired=True)
    cooldown.start(Reason.RESTORING, seconds=60)
    browser = Client()
    browser.force_login(user)

    assert "restoring a backup just now" in browser.get("/connection/").content.decode()


def test_another_pause_is_not_ended(no_cooldown: None) -> None:
    cooldown.start(Reason.CLIENT_REFUSED, seconds=60)

    cooldown.stop(Reason.RESTORING)

    assert cooldown.reason() == Reason.CLIENT_REFUSED


def test_without_redis_nothing_is_changed(people: list[User], settings: Settings) -> None:
    moment = back_up()
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"

    with pytest.raises(CommandError, match="Redis failed"):
        after_restore(moment, "--yes")

    assert SpotifyToken.objects.filter(status="active").count() == USERS


def test_many_who_must_reconnect_are_no_sign_of_an_outage(
    people: list[User], connect: Connect, spotify: Sandbox
) -> None:
    moment = back_up()
    after_restore(moment, "--yes")
    user = connect("user-99")
    spotify.revoke("user-99")

    for _ in range(3):
        refresh_next()
        make_long_refused(user)

    token = token_of(user)
    assert (token.status, token.last_error) == ("reconnect_required", "invalid_grant")


# Redis was not restored, and may know more than the backup.


def lose_postgresql_after_an_answer(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last thing before the disaster: Spotify has answered, PostgreSQL has not stored it."""
    SpotifyToken.objects.filter(pk=user.pk).update(due_at=Now() - timedelta(seconds=60))
    with monkeypatch.context() as patch:
        after_the_answer(patch, cut_the_connection)
        lanes.run_lane()


def test_within_a_minute_redis_saves_everybody(people: list[User], spotify: Sandbox) -> None:
    """It keeps each pair for a minute after PostgreSQL took it."""
    moment = back_up()
    refresh_all(people)
    restore()

    after_restore(moment, "--yes")

    assert set(SpotifyToken.objects.values_list("status", "generation")) == {("active", 2)}
    refresh_all(people)
    assert spotify.stats()["totals"]["reuses_of_dead_token"] == 0


@pytest.mark.parametrize("refreshes", [0, 1, 3])
def test_a_newer_grant_in_redis_is_stored_and_its_user_need_not_reconnect(
    people: list[User], spotify: Sandbox, monkeypatch: pytest.MonkeyPatch, refreshes: int
) -> None:
    user = people[0]
    moment = back_up()
    for _ in range(refreshes):
        make_due(user)
        assert refresh_next() is Outcome.REFRESHED
    lose_postgresql_after_an_answer(user, monkeypatch)
    restore()

    with hearing() as heard:
        said = after_restore(moment, "--yes")

    told = Counter(names(heard))
    required = Notice.objects.filter(kind="token.reconnect_required")
    assert told == {"service_paused": 1, "reconnect_required": USERS - 1, "service_resumed": 1}
    assert len({notice.data["user_id"] for notice in required} - {user.pk}) == USERS - 1
    assert "1 grants in Redis are newer" in said
    token = token_of(user)
    assert (token.status, token.last_error) == ("active", "")
    assert token.generation == spotify.stats("user-0")["generation"] == 2 + refreshes
    assert account_of(spotify, token.access_token) == user.account_id
    make_due(user)
    assert refresh_next() is Outcome.REFRESHED
    assert spotify.stats()["totals"]["reuses_of_dead_token"] == 0
    assert SpotifyToken.objects.filter(last_error="backup_restored").count() == USERS - 1


@pytest.mark.parametrize(("status", "recovered"), [("active", 1), ("paused", 0)])
def test_a_newer_grant_ends_a_suspicion_and_no_pause(
    people: list[User], monkeypatch: pytest.MonkeyPatch, status: str, recovered: int
) -> None:
    user = people[0]
    moment = back_up()
    lose_postgresql_after_an_answer(user, monkeypatch)
    restore()
    SpotifyToken.objects.filter(pk=user.pk).update(status=status, suspected_at=Now(), failures=1)

    after_restore(moment, "--yes")

    token = token_of(user)
    assert (token.status, token.generation, token.suspected_at) == (status, 2, None)
    assert Notice.objects.filter(kind="token.recovered").count() == recovered


def test_a_grant_whose_successor_was_presented_is_not_used(
    people: list[User], spotify: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = people[0]
    moment = back_up()
    lose_postgresql_after_an_answer(user, monkeypatch)
    begin(user.pk, generation=2)  # the mark of an attempt on the pair that it gave
    restore()

    after_restore(moment, "--yes")

    assert token_of(user).last_error == "backup_restored"


def test_a_grant_of_the_time_before_never_replaces_a_later_login(
    people: list[User], spotify: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The login's generation has the number of one that the backup does not know."""
    user = people[0]
    moment = back_up()
    make_due(user)
    refresh_next()
    lose_postgresql_after_an_answer(user, monkeypatch)  # on generation 2
    restore()
    log_in_again(user, spotify, "user-0")  # generation 2 again
    stored = token_of(user).refresh_token

    after_restore(moment, "--yes")
    make_due(user)
    before = attempted(spotify)
    assert refresh_next() is Outcome.REFRESHED

    assert attempted(spotify) == before + 1  # Spotify was asked
    event = user.spotify_auth_events.first()
    assert event
    assert event.cause == "schedule"
    assert token_of(user).refresh_token != stored


def test_a_grant_that_is_saved_after_the_restore_is_kept(
    people: list[User], spotify: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = people[0]
    moment = back_up()
    restore()
    log_in_again(user, spotify, "user-0")
    lose_postgresql_after_an_answer(user, monkeypatch)

    after_restore(moment, "--yes")

    assert lanes.run_lane() == 1
    event = user.spotify_auth_events.first()
    assert event
    assert event.cause == "rescue"
    assert spotify.stats()["totals"]["reuses_of_dead_token"] == 0


def test_a_grant_under_a_missing_key_is_counted_before_anything_happens(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    with keys(OLD):
        user = connect(due=False)
        moment = back_up()
        lose_postgresql_after_an_answer(user, monkeypatch)
    restore()

    with keys(NEW):
        said = after_restore(moment, "--dry-run")

    assert "1 grants in Redis cannot be read and will be deleted: put their key back" in said


# Servers that send no new refresh token.


def test_tokens_that_were_not_rotated_are_kept_and_spread(
    people: list[User], spotify: Sandbox, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey, "A_SECOND", 0.01)  # 800 s for eight
    spotify.faults("no_rotation")
    refresh_all(people)
    SpotifyToken.objects.update(
        refreshed_at=F("refreshed_at") - timedelta(seconds=1), due_at=Now() + timedelta(hours=1)
    )
    moment = back_up()
    refresh_all(people)
    restore()
    a_minute_passes(settings)
    hours_pass(2)

    said = after_restore(moment, "--not-rotated", "--yes")

    assert f"{USERS} of these tokens are due: they are spread over 800 s" in said
    assert refresh_next() is None
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT count(DISTINCT due_at), extract(epoch FROM max(due_at) - now())::int "
            "FROM spotify_auth_spotifytoken"
        )
        different, latest = cursor.fetchone()
    assert different == USERS
    assert 0 < latest <= 800
    refresh_all(people)
    assert set(SpotifyToken.objects.values_list("status", "failures")) == {("active", 0)}


@pytest.mark.parametrize(
    ("rotates", "arguments", "advice"),
    [
        (False, [], "with --not-rotated these tokens are kept"),
        (True, ["--not-rotated"], "without --not-rotated none is shown to it"),
    ],
)
def test_the_history_advises_whether_tokens_were_rotated(
    people: list[User], spotify: Sandbox, rotates: bool, arguments: list[str], advice: str
) -> None:
    if not rotates:
        spotify.faults("no_rotation")
    refresh_all(people)
    moment = back_up()

    said = after_restore(moment, "--dry-run", *arguments)

    count = USERS if rotates else 0
    assert f"{count} of {USERS} refreshes brought a new refresh token" in said
    assert advice in said
