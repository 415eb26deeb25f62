"""When an `invalid_grant` is believed."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now
from pytest_django import Settings

from accounts.models import User
from spotify_auth import connections
from spotify_auth.accounts_service.answers import ClientRefused, Refused, Unavailable
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.models import Cause, Outcome, SpotifyToken, TokenEvent
from spotify_auth.refresh import history
from spotify_auth.refresh.claims import Claim
from tests.support.claims import claim_of

pytestmark = pytest.mark.django_db

GRANT = Grant(access_token="a", refresh_token="r", expires_in=3600, scope="")


def happened(
    outcome: Outcome,
    times: int,
    *,
    seconds_ago: float = 1,
    person: str | None = None,
    error: str = "",
    cause: Cause = Cause.SCHEDULE,
) -> None:
    """Put events into the history, each of another user unless one is named."""
    for n in range(times):
        user, _ = User.objects.get_or_create(account_id=person or f"{outcome}-{error}-{n}")
        TokenEvent.objects.create(
            user=user,
            cause=cause,
            outcome=outcome,
            error=error,
            duration_ms=1,
            at=Now() - timedelta(seconds=seconds_ago),
        )


@pytest.fixture
def suspected(db: None) -> Claim:
    """A token that Spotify refused twenty minutes ago, and refuses again."""
    user, _ = User.objects.get_or_create(account_id="me")
    connections.connect(user_id=user.pk, grant=GRANT, issued_at=connections.database_now())
    SpotifyToken.objects.update(suspected_at=Now() - timedelta(seconds=1200))
    return claim_of(user.pk, suspected_for=1200.0)


def rare(claim: Claim) -> bool:
    return history.evidence(claim, Refused()).refusals_are_rare


@pytest.mark.parametrize(
    ("refused", "refreshed", "expected"),
    [
        (0, 0, True),  # this one alone
        (4, 0, True),  # five of five: a share, but no number
        (5, 0, False),
        (5, 100, False),  # five of 105
        (5, 300, True),  # five of 305: a number, but no share
    ],
)
def test_refusals_are_rare_by_number_or_by_share(
    suspected: Claim, refused: int, refreshed: int, expected: bool
) -> None:
    happened(Outcome.SUSPECTED, refused)
    happened(Outcome.REFRESHED, refreshed)

    assert rare(suspected) is expected


@pytest.mark.parametrize(
    ("seconds_ago", "expected"),
    [
        (600, False),  # since the first refusal
        (1250, False),  # shortly before it
        (1270, True),  # before that
    ],
)
def test_refusals_count_since_shortly_before_the_first(
    suspected: Claim, seconds_ago: float, expected: bool
) -> None:
    happened(Outcome.SUSPECTED, 10, seconds_ago=seconds_ago)

    assert rare(suspected) is expected


def test_a_cohort_whose_six_months_are_over_is_no_sign_of_an_outage(suspected: Claim) -> None:
    happened(Outcome.RECONNECT_REQUIRED, 100, error="six_months_over")

    assert rare(suspected)


def test_appeals_against_old_verdicts_are_no_sign_of_an_outage(suspected: Claim) -> None:
    happened(Outcome.RECONNECT_REQUIRED, 100, error="invalid_grant", cause=Cause.APPEAL)

    assert rare(suspected)


def test_failures_of_other_kinds_do_not_count(suspected: Claim) -> None:
    happened(Outcome.RETRY, 100)
    happened(Outcome.ANSWER_UNKNOWN, 100)

    assert rare(suspected)


def test_a_user_who_is_refused_again_and_again_counts_once(suspected: Claim) -> None:
    happened(Outcome.SUSPECTED, 50, person="me")
    happened(Outcome.SUSPECTED, 50, person="another who left")

    assert rare(suspected)
    assert history.evidence(suspected, Refused()).refused_before == 50


@pytest.mark.parametrize("seconds_ago", [1201, 1199])
def test_an_outage_that_is_over_is_still_seen_where_the_first_refusal_was(
    suspected: Claim, monkeypatch: pytest.MonkeyPatch, seconds_ago: float
) -> None:
    """In a large service the newest events say nothing about twenty minutes ago."""
    monkeypatch.setattr(history, "SAMPLE", 20)
    happened(Outcome.SUSPECTED, 10, seconds_ago=seconds_ago)
    happened(Outcome.REFRESHED, 60, seconds_ago=1)

    assert not rare(suspected)


def test_the_limits_are_settings(suspected: Claim, settings: Settings) -> None:
    settings.OUTAGE_GUARD_REFUSALS = 2
    settings.OUTAGE_GUARD_SHARE = 0.1
    happened(Outcome.SUSPECTED, 2)
    happened(Outcome.REFRESHED, 10)
    assert not rare(suspected)

    assert not history.evidence(suspected, Refused()).held_too_long
    settings.OUTAGE_GUARD_LONGEST_SECONDS = 1000
    assert history.evidence(suspected, Refused()).held_too_long


def client_errors(*people: str, seconds_ago: float = 1) -> None:
    for person in people:
        happened(Outcome.RETRY, 1, person=person, error="invalid_client", seconds_ago=seconds_ago)


def clients_are_refused(claim: Claim) -> bool:
    return history.evidence(claim, ClientRefused("invalid_client")).clients_are_refused


def test_our_credentials_are_wrong_when_the_latest_three_tokens_say_so(suspected: Claim) -> None:
    client_errors("one")
    assert not clients_are_refused(suspected)
    client_errors("one", "me")  # the same tokens again
    assert not clients_are_refused(suspected)

    client_errors("two")
    assert clients_are_refused(suspected)

    happened(Outcome.REFRESHED, 1, person="three")
    assert not clients_are_refused(suspected)


def test_errors_of_the_client_count_for_a_minute(suspected: Claim) -> None:
    client_errors("one", "two", "three", seconds_ago=61)

    assert not clients_are_refused(suspected)


@pytest.mark.parametrize(
    ("hours", "others_are_served", "expected"),
    [(7, True, True), (5, True, False), (7, False, False)],
)
def test_a_token_that_alone_is_refused_like_that_for_hours_is_dead(
    suspected: Claim, hours: float, others_are_served: bool, expected: bool
) -> None:
    TokenEvent.objects.create(
        user_id=suspected.user_id,
        cause=Cause.SCHEDULE,
        outcome=Outcome.RETRY,
        error="invalid_request",
        generation_before=1,
        at=Now() - timedelta(hours=hours),
    )
    if others_are_served:
        happened(Outcome.REFRESHED, 1)

    seen = history.evidence(suspected, ClientRefused("invalid_request"))

    assert seen.client_refused_too_long is expected


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
