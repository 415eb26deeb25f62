"""Taking over tokens that were obtained elsewhere."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import AnonymousUser
from pytest_django import Settings

import spotify_auth
from accounts.connection_page import reconnect_soon
from accounts.models import User
from accounts.reminders import remind
from spotify_auth import connections, signals, verbs
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.adopting import adopt
from spotify_auth.models import Cause, Notice, Outcome, SpotifyToken, TokenEvent
from spotify_auth.notices import reconnect_due
from spotify_auth.tokens import NotConnected, TokenStale, access_token_for
from spotify_auth.verbs import Operator
from tests.support.lanes import refresh_next
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import token_of

pytestmark = pytest.mark.django_db

Adopt = Callable[..., bool]


@pytest.fixture
def user() -> User:
    return User.objects.create(account_id="a", email="a@example.org")


@pytest.fixture
def now() -> datetime:
    return connections.database_now()


@pytest.fixture
def adopt_for(user: User, now: datetime) -> Adopt:
    """`adopt` with tokens of an hour, whose user approved a month ago."""

    def call(**changes: Any) -> bool:
        arguments: dict[str, Any] = {
            "access_token": "access",
            "refresh_token": "refresh",
            "expires_at": now + timedelta(hours=1),
            "scope": "streaming user-top-read",
            "authorized_at": now - timedelta(days=30),
        }
        return adopt(user, **{**arguments, **changes})

    return call


def connect(user: User, at: datetime) -> None:
    grant = Grant(access_token="ours", refresh_token="ours", expires_in=3600, scope="")
    connections.connect(user_id=user.pk, grant=grant, issued_at=at)


def test_the_row_says_what_is_known(user: User, now: datetime, adopt_for: Adopt) -> None:
    assert adopt_for(account_id="a")

    token = token_of(user)
    assert (token.access_token, token.refresh_token) == ("access", "refresh")
    assert (token.status, token.generation, token.account_id) == ("active", 1, "a")
    assert token.scope == "streaming user-top-read"
    assert (token.authorized_at, token.authorized_at_known) == (now - timedelta(days=30), True)
    assert token.expires_at == now + timedelta(hours=1)
    assert now + timedelta(seconds=2520) <= token.due_at <= now + timedelta(seconds=2880)
    event = TokenEvent.objects.get()
    assert (event.outcome, event.cause) == (Outcome.CONNECTED, Cause.ADOPTED)
    assert event.lifetime_granted in {3599, 3600}


@pytest.mark.parametrize(
    "expires_at",
    # The last is more seconds ago than the history can count.
    [None, datetime.min.replace(tzinfo=UTC), datetime(1950, 1, 1, tzinfo=UTC)],
)
def test_tokens_of_which_nothing_is_known_are_refreshed_at_once(
    user: User, spotify: Sandbox, expires_at: datetime | None
) -> None:
    theirs = spotify.connect(["user-1"])["user-1"]
    adopt(
        user,
        access_token=theirs["access_token"],
        refresh_token=theirs["refresh_token"],
        expires_at=expires_at,
        scope=[],
        authorized_at=None,
    )
    with pytest.raises(TokenStale):
        access_token_for(user)

    assert refresh_next() is Outcome.REFRESHED

    token = token_of(user)
    assert token.access_token != theirs["access_token"]
    assert access_token_for(user).scopes >= {"user-top-read"}  # as Spotify says
    assert spotify.stats("user-1")["reuses_of_dead_token"] == 0


def test_a_token_that_expired_long_ago_is_due_at_once_unless_the_caller_spreads(
    user: User, now: datetime, adopt_for: Adopt
) -> None:
    week_ago = now - timedelta(days=7)
    adopt_for(expires_at=week_ago)
    token = token_of(user)
    assert (token.expires_at, token.due_at) == (week_ago, now)
    assert token.refreshed_at < token.due_at  # so that a page may nudge

    later = now + timedelta(minutes=5)
    adopt_for(expires_at=week_ago, due_at=later, authorized_at=now)

    assert token_of(user).due_at == later


@pytest.mark.parametrize(
    ("left", "asked", "due"),
    [(600, 300, 300), (600, 900, 540), (30, 300, 0), (-1, 300, 300)],  # in seconds from now
)
def test_a_token_that_lives_is_not_left_to_expire(
    user: User, now: datetime, adopt_for: Adopt, settings: Settings, left: int, asked: int, due: int
) -> None:
    settings.ACCESS_TOKEN_MINIMUM_SECONDS = 60

    adopt_for(expires_at=now + timedelta(seconds=left), due_at=now + timedelta(seconds=asked))

    assert token_of(user).due_at == now + timedelta(seconds=due)


def test_scopes_that_are_not_known_come_with_a_refresh_at_once(
    user: User, now: datetime, adopt_for: Adopt
) -> None:
    """Until then every page that wants scopes refuses, however long the access token lives."""
    adopt_for(scope="")

    assert token_of(user).due_at == now


@pytest.mark.parametrize("scope", ["a b", ["a", "b"], ("a b",), " a  b"])
def test_scopes_come_in_one_string_or_in_several(user: User, adopt_for: Adopt, scope: Any) -> None:
    adopt_for(scope=scope)

    assert token_of(user).scope == "a b"


@pytest.mark.parametrize(
    ("stored", "approved", "taken"),
    [
        (-2, -1, True),
        (-1, -2, False),
        (-1, -1, False),  # the same import once more: ours may have been rotated since
        (-1, None, False),
    ],
)
def test_nothing_newer_is_overwritten(
    user: User, now: datetime, adopt_for: Adopt, stored: int, approved: int | None, taken: bool
) -> None:
    connect(user, now + timedelta(days=stored))

    given = None if approved is None else now + timedelta(days=approved)
    assert adopt_for(authorized_at=given) is taken

    assert token_of(user).access_token == ("access" if taken else "ours")
    assert TokenEvent.objects.count() == 1 + taken


def test_what_was_taken_over_without_its_time_is_replaced_by_a_login_only(
    user: User, now: datetime, adopt_for: Adopt
) -> None:
    adopt_for(authorized_at=None)

    assert not adopt_for(access_token="older", authorized_at=now - timedelta(days=1))
    assert not adopt_for(access_token="again", authorized_at=None)
    connect(user, now)

    token = token_of(user)
    assert (token.access_token, token.authorized_at_known) == ("ours", True)


@pytest.mark.parametrize("approved", [-1, None])
def test_a_pair_that_spotify_refuses_is_replaced(
    user: User, now: datetime, adopt_for: Adopt, approved: int | None
) -> None:
    connect(user, now)
    SpotifyToken.objects.update(status=SpotifyToken.Status.RECONNECT_REQUIRED)

    given = None if approved is None else now + timedelta(days=approved)
    assert adopt_for(authorized_at=given)

    assert token_of(user).status == "active"


@pytest.mark.parametrize(("approved", "taken"), [(-2, False), (None, False), (0, True)])
def test_a_reconnect_that_an_administrator_requires_needs_a_later_approval(
    user: User, now: datetime, adopt_for: Adopt, approved: int | None, taken: bool
) -> None:
    connect(user, now - timedelta(days=1))
    verbs.require_reconnect(user.pk, operator=Operator.named("root"), reason="a leak")

    given = None if approved is None else now + timedelta(days=approved)
    assert adopt_for(authorized_at=given) is taken

    assert (token_of(user).status == "active") is taken


@pytest.mark.parametrize("close", [connections.disconnect, connections.revoke])
@pytest.mark.parametrize(("approved", "taken"), [(-1, False), (None, False), (1, True)])
def test_what_was_erased_comes_back_only_by_a_later_approval(
    user: User,
    now: datetime,
    adopt_for: Adopt,
    close: Callable[..., bool],
    approved: int | None,
    taken: bool,
) -> None:
    connect(user, now - timedelta(days=9))
    close(user_id=user.pk)
    SpotifyToken.objects.update(closed_at=now - timedelta(days=5))

    given = None if approved is None else now + timedelta(days=-5 + approved)
    assert adopt_for(authorized_at=given) is taken

    assert (token_of(user).access_token == "access") is taken


def test_accounts_are_not_mixed_up(user: User, now: datetime, adopt_for: Adopt) -> None:
    adopt_for(account_id="a", authorized_at=now - timedelta(days=9))
    with pytest.raises(connections.DifferentAccount):
        adopt_for(account_id="b")
    other = User.objects.create(account_id="c")

    with pytest.raises(connections.AccountTaken):
        adopt(
            other.pk,
            access_token="access",
            refresh_token="refresh",
            expires_at=None,
            scope="",
            authorized_at=None,
            account_id="a",
        )

    assert token_of(user).account_id == "a"


@pytest.mark.parametrize(("known", "told"), [(True, 1), (False, 0)])
def test_nobody_is_reminded_of_a_day_that_is_not_known(
    user: User, now: datetime, adopt_for: Adopt, known: bool, told: int
) -> None:
    adopt_for(authorized_at=now - timedelta(days=30) if known else None)
    SpotifyToken.objects.update(reauthorize_by=now + timedelta(days=5))

    reconnect_due.notice_all()

    assert Notice.objects.filter(kind="token.reconnect_due").count() == told
    assert remind() == told
    assert bool(reconnect_soon(user.pk)) is known


def test_an_unknown_time_has_an_upper_bound(user: User, now: datetime, adopt_for: Adopt) -> None:
    adopt_for(authorized_at=None)

    token = token_of(user)
    assert (token.authorized_at, token.authorized_at_known) == (now, False)
    assert timedelta(days=181) <= token.reauthorize_by - now <= timedelta(days=184)


@pytest.mark.django_db(transaction=True)
def test_receivers_hear_of_it_once_it_is_committed(adopt_for: Adopt) -> None:
    heard: list[dict[str, Any]] = []

    def receiver(**said: Any) -> None:
        heard.append(said)

    signals.token_connected.connect(receiver)
    try:
        adopt_for()
        adopt_for()  # left out
    finally:
        signals.token_connected.disconnect(receiver)

    assert [(said["reason"], said["generation"]) for said in heard] == [("adopted", 1)]
    assert (
        heard[0]["sentence"] == "The service took over Spotify tokens that were obtained elsewhere."
    )


SECRET = "secret-" + uuid4().hex
NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"access_token": ""}, "access_token is missing"),
        ({"refresh_token": None}, "refresh_token is missing"),
        ({"access_token": SECRET + "\n"}, "access_token is no token"),
        ({"refresh_token": " " + SECRET}, "refresh_token is no token"),
        ({"refresh_token": SECRET + "\0"}, "refresh_token is no token"),
        ({"refresh_token": SECRET + "\ud83d"}, "refresh_token is no token"),
        ({"access_token": SECRET.encode()}, "access_token is no token"),
        ({"scope": "a\nb"}, "scope must be"),
        ({"expires_at": NAIVE}, "expires_at must be a datetime with a time zone"),
        ({"expires_at": 1767225600}, "expires_at must be a datetime with a time zone"),
        ({"expires_at": datetime(2050, 1, 1, tzinfo=UTC)}, "expires_at is more than a day ahead"),
        ({"authorized_at": NAIVE}, "authorized_at must be"),
        ({"authorized_at": datetime(2050, 1, 1, tzinfo=UTC)}, "authorized_at lies in the future"),
        ({"authorized_at": datetime(1970, 1, 1, tzinfo=UTC)}, "authorized_at lies before there"),
        ({"due_at": NAIVE}, "due_at must be"),
    ],
)
def test_what_cannot_be_stored_is_refused_in_words_without_a_token(
    adopt_for: Adopt, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        adopt_for(**changes)

    assert SECRET not in str(refused.value)
    assert not SpotifyToken.objects.exists()


def test_the_clock_of_the_host_that_logged_in_may_be_a_little_ahead(
    user: User, now: datetime, adopt_for: Adopt
) -> None:
    adopt_for(authorized_at=now + timedelta(seconds=5))

    assert token_of(user).authorized_at == now


def test_nobody_can_own_tokens() -> None:
    with pytest.raises(NotConnected):
        adopt(
            AnonymousUser(),
            access_token="access",
            refresh_token="refresh",
            expires_at=None,
            scope="",
            authorized_at=None,
        )


def test_it_is_at_hand_where_the_package_is() -> None:
    assert spotify_auth.adopt is adopt
    with pytest.raises(AttributeError, match="no attribute 'adapt'"):
        spotify_auth.adapt  # noqa: B018
