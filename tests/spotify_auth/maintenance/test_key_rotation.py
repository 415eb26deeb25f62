"""Everything that is stored comes under the first key, beside lanes at work; nothing is lost."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import redis
from django.db import connection as database
from django.db.models.functions import Now
from pytest_django import Settings

from accounts.models import User
from spotify_auth import connections, login, sealed_values, tokens
from spotify_auth.encryption import Cipher
from spotify_auth.login import Door
from spotify_auth.login_failures import LoginFailed, Reason
from spotify_auth.maintenance import key_counts, key_rotation
from spotify_auth.maintenance.key_rotation import Result, Rotation
from spotify_auth.models import Outcome, SpotifyToken
from spotify_auth.refresh import lanes, saved_grants
from tests.support.answers import after_the_answer
from tests.support.database_faults import cut_the_connection, locked_elsewhere
from tests.support.keys import NEW, OLD, keys, stored_bytes
from tests.support.lanes import refresh_next
from tests.support.login import begin_in_the_previous_version
from tests.support.processes import wait_for
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import (
    Connect,
    account_of,
    connect_users,
    make_due,
    make_long_refused,
    token_of,
)

pytestmark = pytest.mark.django_db(transaction=True)

CONNECTED = ("active", "dormant", "suspected", "refused", "undecided")


def rotate(*, stopping: threading.Event | None = None) -> Result:
    return Rotation(stopping=stopping or threading.Event(), progress=lambda rows: None).run()


def tokens_table() -> sealed_values.Table:
    (table,) = [each for each in sealed_values.tables() if each.name.endswith("spotifytoken")]
    return table


def assert_only_needs(*key: bytes) -> None:
    heads = {count.head for count in key_counts.count().counts}
    assert heads <= {Cipher([each]).current_head for each in key}


@pytest.fixture
def users(connect: Connect) -> dict[str, User]:
    """A user in every state, all under the old key."""
    with keys(OLD):
        found = {
            name: connect(f"user-{n}", due=False)
            for n, name in enumerate((*CONNECTED, "disconnected", "revoked"))
        }
        connections.disconnect(user_id=found["disconnected"].pk)
        connections.revoke(user_id=found["revoked"].pk)
    change = SpotifyToken.objects.filter
    change(pk=found["dormant"].pk).update(due_at=Now() + timedelta(days=100))
    change(pk=found["suspected"].pk).update(suspected_at=Now(), last_error="invalid_grant")
    for name, appeal_at in (("refused", None), ("undecided", Now() + timedelta(hours=1))):
        change(pk=found[name].pk).update(
            status="reconnect_required", last_error="invalid_grant", appeal_at=appeal_at
        )
    return found


def test_rows_in_every_state_come_under_the_first_key(
    users: dict[str, User], spotify: Sandbox
) -> None:
    with keys(NEW, OLD):
        assert key_counts.count().rows_to_do == 5
        result = rotate()

    assert (result.renewed, result.unopened, result.held) == (5, [], 0)
    with keys(NEW):
        assert_only_needs(NEW)
        for name in CONNECTED:
            token = token_of(users[name])
            assert account_of(spotify, token.access_token) == users[name].account_id
            assert spotify.refresh(str(token.refresh_token)).ok
    for name in ("disconnected", "revoked"):
        assert stored_bytes(users[name].pk) == (None, None)


def test_the_rest_of_a_row_stays_as_it_is(users: dict[str, User]) -> None:
    sealed = {"access_token", "refresh_token"}
    names = [field.attname for field in SpotifyToken._meta.fields if field.attname not in sealed]
    before = list(SpotifyToken.objects.order_by("pk").values(*names))

    with keys(NEW, OLD):
        rotate()

    assert list(SpotifyToken.objects.order_by("pk").values(*names)) == before


def test_everything_works_without_the_old_key_while_spotify_returns_no_refresh_token(
    connect: Connect, spotify: Sandbox
) -> None:
    spotify.faults("no_rotation")
    with keys(OLD):
        user, absent = connect("user-1"), connect("user-2", due=False)
    with keys(NEW, OLD):
        assert refresh_next() is Outcome.REFRESHED
        assert {stored[:5] for stored in stored_bytes(user.pk) if stored} == {
            Cipher([NEW]).current_head
        }
        rotate()

    with keys(NEW):
        assert tokens.access_token_for(absent)
        for each in (user, absent):
            make_due(each)
            assert refresh_next() is Outcome.REFRESHED


def test_a_refresh_seals_the_kept_token_anew_only_if_its_key_is_not_the_first(
    connect: Connect, spotify: Sandbox
) -> None:
    spotify.faults("no_rotation")
    user = connect()
    _, before = stored_bytes(user.pk)

    assert refresh_next() is Outcome.REFRESHED

    _, after = stored_bytes(user.pk)
    assert after == before


def test_nothing_is_written_when_all_is_under_the_first_key(users: dict[str, User]) -> None:
    with keys(NEW, OLD):
        rotate()
        before = [stored_bytes(user.pk) for user in users.values()]

        assert rotate().renewed == 0

    assert [stored_bytes(user.pk) for user in users.values()] == before


def test_a_login_that_the_previous_version_began_is_completed_without_the_old_key(
    spotify: Sandbox,
) -> None:
    with keys(OLD):
        begun = begin_in_the_previous_version(door=Door.LOGIN, for_user="", switch=False)
    with keys(NEW, OLD):
        rotate()
    (code,) = parse_qs(urlsplit(spotify.authorize(begun.parameters, "user-1")).query)["code"]

    with keys(NEW):
        completed = login.complete(
            state=begun.parameters["state"],
            cookie="",
            previous_cookie=begun.cookie,
            code=code,
            error="",
            user_id=None,
            doors=[Door.LOGIN],
        )

    assert completed.grant.refresh_token


def test_a_login_under_way_is_begun_again_without_its_key() -> None:
    """Its cookie is the browser's, so that nobody can bring it under another key."""
    with keys(OLD):
        begun = login.begin(door=Door.LOGIN, next_url="/", user_id=None, cookie="")
    state = parse_qs(urlsplit(begun.url).query)["state"][0]

    with keys(NEW), pytest.raises(LoginFailed) as refused:
        login.complete(
            state=state,
            cookie=begun.cookie,
            previous_cookie="",
            code="a-code",
            error="",
            user_id=None,
            doors=[Door.LOGIN],
        )

    assert refused.value.reason is Reason.UNKNOWN_STATE


@pytest.fixture
def saved(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> User:
    """A user whose grant is saved in Redis under the old key: PostgreSQL did not take it."""
    with keys(OLD), monkeypatch.context() as patch:
        user = connect()
        after_the_answer(patch, cut_the_connection)
        lanes.run_lane()
    return user


def test_a_saved_grant_comes_under_the_first_key_and_is_stored(
    saved: User, spotify: Sandbox, settings: Settings
) -> None:
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        (name,) = client.keys("spotify_auth:rescued:*")
        before = client.pttl(name)
        with keys(NEW, OLD):
            assert rotate().renewed == 2  # the row and the grant

        assert 0 < client.pttl(name) <= before
    with keys(NEW):
        assert_only_needs(NEW)
        assert lanes.run_lane() == 1
        token = token_of(saved)
        assert token.generation == spotify.stats("user-1")["generation"] == 2
        assert account_of(spotify, token.access_token) == saved.account_id
    assert spotify.stats()["totals"]["reuses_of_dead_token"] == 0


def test_a_saved_grant_that_was_replaced_meanwhile_is_left_alone(
    saved: User, settings: Settings
) -> None:
    ((name, sealed),) = saved_grants.stored()
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.set(name, b"another", px=60_000)
        with keys(NEW, OLD):
            assert not saved_grants.reseal(name, sealed)
        assert client.get(name) == b"another"


def test_a_pair_that_a_lane_stored_meanwhile_is_left_alone(
    connect: Connect, spotify: Sandbox
) -> None:
    """Without the fence the pair that Spotify has replaced would come back."""
    with keys(OLD):
        user = connect()
    with keys(NEW, OLD):
        rows = tokens_table().outdated(after=None, limit=10)
        assert refresh_next() is Outcome.REFRESHED
        stored = stored_bytes(user.pk)

        written, _ = tokens_table().reseal(rows)

    assert written == set()
    assert stored_bytes(user.pk) == stored


def test_tokens_that_were_erased_meanwhile_stay_erased(connect: Connect) -> None:
    with keys(OLD):
        user = connect(due=False)
    with keys(NEW, OLD):
        rows = tokens_table().outdated(after=None, limit=10)
        connections.disconnect(user_id=user.pk)

        tokens_table().reseal(rows)

    assert stored_bytes(user.pk) == (None, None)


def test_a_row_that_a_lane_holds_is_come_back_to(
    users: dict[str, User], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_rotation, "COME_BACK_SECONDS", 0.05)
    done: list[int] = []
    others_are_done = threading.Event()

    def progress(rows: int) -> None:
        done.append(rows)
        others_are_done.set()

    def run() -> Result:
        try:
            with keys(NEW, OLD):
                return Rotation(stopping=threading.Event(), progress=progress).run()
        finally:
            database.close()

    held = "SELECT FROM spotify_auth_spotifytoken WHERE user_id = %s FOR UPDATE"
    with ThreadPoolExecutor(1) as pool:
        with locked_elsewhere(held, users["active"].pk):
            running = pool.submit(run)
            assert others_are_done.wait(60)
            assert sum(done) == 4  # it has not waited for the fifth
        result = running.result(timeout=60)

    assert (result.renewed, result.held) == (5, 0)


def test_a_row_that_stays_locked_is_reported(
    users: dict[str, User], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_rotation, "PATIENCE_SECONDS", 0.3)
    held = "SELECT FROM spotify_auth_spotifytoken WHERE user_id = %s FOR UPDATE"

    with locked_elsewhere(held, users["active"].pk), keys(NEW, OLD):
        result = rotate()

    assert (result.renewed, result.held) == (4, 1)


def test_it_ends_between_two_batches_and_goes_on_where_it_was(
    users: dict[str, User], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_rotation, "AT_ONCE", 2)
    stopping = threading.Event()
    with keys(NEW, OLD):
        stopped = Rotation(stopping=stopping, progress=lambda rows: stopping.set()).run()
        assert stopped.renewed == 2
        assert key_counts.count().rows_to_do == 3

        assert rotate().renewed == 3
        assert_only_needs(NEW)


def test_a_value_that_no_key_opens_is_named_and_stops_nothing(users: dict[str, User]) -> None:
    with keys(b"l" * 32):
        token = token_of(users["refused"])
        token.refresh_token = "under a key that is lost"
        token.save(update_fields=["refresh_token"])

    with keys(NEW, OLD):
        result = rotate()

    (unopened,) = result.unopened
    assert unopened.primary_key == users["refused"].pk
    assert Cipher([b"l" * 32]).current_head[1:].hex() in unopened.reason
    assert result.renewed == 5  # the access token of that row too
    with keys(NEW):
        assert [count.values for count in key_counts.count().not_first] == [1]


def test_what_a_process_with_another_first_key_writes_meanwhile_is_found_out(
    users: dict[str, User],
) -> None:
    make_due(users["active"])

    def late(rows: int) -> None:
        with keys(OLD, NEW):
            refresh_next()

    with keys(NEW, OLD):
        Rotation(stopping=threading.Event(), progress=late).run()

        assert {count.state for count in key_counts.count().not_first} == {"retired"}
        rotate()
        assert key_counts.count().not_first == []


@pytest.mark.slow
def test_no_pair_is_lost_while_lanes_refresh(
    spotify: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lanes rotate each token several times while the keys change under them."""
    monkeypatch.setattr(key_rotation, "COME_BACK_SECONDS", 0.01)
    with keys(OLD):
        people = connect_users(spotify, 16)
    refreshing = threading.Event()
    refreshing.set()

    def refresh() -> None:
        try:
            while refreshing.is_set():
                if refresh_next() is None:
                    with database.cursor() as cursor:
                        cursor.execute(
                            "UPDATE spotify_auth_spotifytoken SET due_at = now() "
                            "WHERE user_id IN (SELECT user_id FROM spotify_auth_spotifytoken "
                            "                  FOR UPDATE SKIP LOCKED)"
                        )
        finally:
            database.close()

    rotations = 0
    with keys(OLD, NEW):
        with ThreadPoolExecutor(4) as pool:
            working = [pool.submit(refresh) for _ in range(4)]
            try:
                for first, second in [(NEW, OLD), (OLD, NEW)] * 4:
                    with keys(first, second):
                        rotations += rotate().renewed
                wait_for(
                    lambda: spotify.stats()["totals"]["refreshes"] > 2 * len(people),
                    what="each token to be refreshed more than twice",
                )
            finally:
                refreshing.clear()
            for each in working:
                each.result(timeout=30)

        assert rotations > len(people)
        assert spotify.stats()["totals"]["reuses_of_dead_token"] == 0
        for person in people:
            token = token_of(person)
            assert (token.status, token.last_error) == ("active", "")
            assert spotify.refresh(str(token.refresh_token)).ok, person.pk


def test_no_row_of_a_user_that_is_refused_is_asked_about(
    connect: Connect, spotify: Sandbox
) -> None:
    """Sealing anew is no exchange."""
    with keys(OLD):
        make_long_refused(connect())
    before = spotify.stats()["totals"]["refreshes_attempted"]

    with keys(NEW, OLD):
        rotate()

    assert spotify.stats()["totals"]["refreshes_attempted"] == before
