"""When an `invalid_grant` is believed."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now
from pytest_django import Settings

from accounts.models import User
from spotify_auth import connections
from spotify_auth.accounts_service.answers import Refused, Unavailable
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.models import Cause, Outcome, SpotifyToken, TokenEvent
from spotify_auth.refresh import history
from spotify_auth.refresh.claims import Claim
from tests.support.claims import claim_of

pytestmark = pytest.mark.django_db

GRANT = Grant(access_token="a", refresh_token="r", expires_in=3600, scope="")


def happened(
    outcome: Outcome, times: int, *, seconds_ago: float = 1, person: str | None = None
) -> None:
    """Put events into the history, each of another person unless one is named."""
    for n in range(times):
        user, _ = User.objects.get_or_create(account_id=person or f"{outcome}-{n}")
        TokenEvent.objects.create(
            user=user,
            cause=Cause.SCHEDULE,
            outcome=outcome,
            at=Now() - timedelta(seconds=seconds_ago),
        )


def is_outage(person: str = "me") -> bool:
    """Whether the refusal that this user has just met is taken for an outage."""
    user, _ = User.objects.get_or_create(account_id=person)
    return history.evidence(claim_of(user.pk), Refused()).outage


@pytest.mark.parametrize(
    ("before", "refreshed", "expected"),
    [
        (0, 0, False),  # one refusal, this one
        (3, 0, False),  # four of four: a share, but no number
        (4, 0, True),  # five of five
        (4, 5, True),  # five of ten
        (4, 6, False),  # five of eleven: a number, but no share
        (50, 1000, False),  # a busy service, where some people leave
    ],
)
def test_an_outage_is_a_number_and_a_share(before: int, refreshed: int, expected: bool) -> None:
    happened(Outcome.SUSPECTED, before)
    happened(Outcome.REFRESHED, refreshed)

    assert is_outage() is expected


def test_what_is_long_past_does_not_count(settings: Settings) -> None:
    happened(Outcome.SUSPECTED, 100, seconds_ago=settings.OUTAGE_GUARD_WINDOW_SECONDS + 10)

    assert is_outage() is False


def test_failures_of_other_kinds_do_not_count() -> None:
    happened(Outcome.RETRY, 100)
    happened(Outcome.ANSWER_UNKNOWN, 100)

    assert is_outage() is False


def test_the_limits_are_settings(settings: Settings) -> None:
    settings.OUTAGE_GUARD_REFUSALS = 2
    settings.OUTAGE_GUARD_SHARE = 0.1
    happened(Outcome.SUSPECTED, 1)
    happened(Outcome.REFRESHED, 10)

    assert is_outage() is True


def test_one_person_who_is_refused_again_and_again_is_no_outage() -> None:
    happened(Outcome.SUSPECTED, 50, person="me")
    happened(Outcome.SUSPECTED, 50, person="another who left")

    assert is_outage("me") is False


def test_this_person_counts_once(settings: Settings) -> None:
    settings.OUTAGE_GUARD_REFUSALS = 2
    happened(Outcome.SUSPECTED, 3, person="me")

    assert is_outage("me") is False


@pytest.fixture
def suspected(db: None) -> Claim:
    """A token that Spotify refused two minutes ago, and refuses again."""
    for name in ("me", "other"):
        user, _ = User.objects.get_or_create(account_id=name)
        connections.connect(user_id=user.pk, grant=GRANT, issued_at=connections.database_now())
    me = User.objects.get(account_id="me")
    SpotifyToken.objects.filter(pk=me.pk).update(suspected_at=Now() - timedelta(seconds=120))
    return claim_of(me.pk, suspected=True)


def other_was_refreshed(*, ended: float, lasted: float, cause: Cause = Cause.SCHEDULE) -> None:
    """Another user's exchange ended so many seconds ago, and lasted so many."""
    TokenEvent.objects.create(
        user=User.objects.get(account_id="other"),
        cause=cause,
        outcome=Outcome.REFRESHED,
        at=Now() - timedelta(seconds=ended),
        duration_ms=int(lasted * 1000),
    )


@pytest.mark.parametrize(
    ("ended", "lasted", "cause", "counts"),
    [
        (60, 1, Cause.SCHEDULE, True),
        (180, 1, Cause.SCHEDULE, False),  # before the refusal
        (115, 10, Cause.SCHEDULE, False),  # begun before it: Spotify was well then
        (60, 0, Cause.RESCUE, False),  # stored from Redis: Spotify was not asked
    ],
)
def test_others_were_refreshed_since_the_refusal(
    suspected: Claim, ended: float, lasted: float, cause: Cause, counts: bool
) -> None:
    other_was_refreshed(ended=ended, lasted=lasted, cause=cause)

    assert history.evidence(suspected, Refused()).others_were_refreshed is counts


def failures(number: int, *, seconds_ago: float) -> None:
    user, _ = User.objects.get_or_create(account_id="other")
    TokenEvent.objects.bulk_create(
        TokenEvent(
            user=user,
            cause=Cause.SCHEDULE,
            outcome=Outcome.RETRY,
            at=Now() - timedelta(seconds=seconds_ago),
            duration_ms=1,
        )
        for _ in range(number)
    )


@pytest.mark.parametrize(
    ("number", "seconds_ago", "nobody"),
    [
        (history.FAILED_IN_A_ROW - 1, 1, True),
        (history.FAILED_IN_A_ROW - 2, 1, False),
        # A service that was idle for hours knows nothing about the present.
        (history.FAILED_IN_A_ROW - 1, 61, False),
    ],
)
def test_nobody_is_answered_when_the_latest_exchanges_failed_within_a_minute(
    number: int, seconds_ago: float, nobody: bool
) -> None:
    failures(number, seconds_ago=seconds_ago)

    assert history.evidence(claim_of(), Unavailable("http_503")).nobody_is_answered is nobody
