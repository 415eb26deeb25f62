"""When an `invalid_grant` is believed."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now
from pytest_django import Settings

from accounts.models import User
from spotify_auth.connections import database_now
from spotify_auth.models import Cause, Outcome, TokenEvent
from spotify_auth.refresh import history
from spotify_auth.refresh.claims import Claim

pytestmark = pytest.mark.django_db


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


def refused(person: str = "me") -> Claim:
    """The claim of somebody who has just been refused."""
    user, _ = User.objects.get_or_create(account_id=person)
    return Claim(
        user_id=user.pk,
        generation=1,
        refresh_token=b"",
        cause=Cause.SCHEDULE,
        asked_by="",
        failures=0,
        suspected=False,
        lifetime=3600,
        lifetime_used=2700,
        claimed_at=str(database_now()),
        six_months_over=False,
        due_at=str(database_now()),
    )


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

    assert history.is_outage(refused()) is expected


def test_what_is_long_past_does_not_count(settings: Settings) -> None:
    happened(Outcome.SUSPECTED, 100, seconds_ago=settings.OUTAGE_GUARD_WINDOW_SECONDS + 10)

    assert history.is_outage(refused()) is False


def test_failures_of_other_kinds_do_not_count() -> None:
    happened(Outcome.RETRY, 100)
    happened(Outcome.ANSWER_UNKNOWN, 100)

    assert history.is_outage(refused()) is False


def test_the_limits_are_settings(settings: Settings) -> None:
    settings.OUTAGE_GUARD_REFUSALS = 2
    settings.OUTAGE_GUARD_SHARE = 0.1
    happened(Outcome.SUSPECTED, 1)
    happened(Outcome.REFRESHED, 10)

    assert history.is_outage(refused()) is True


def test_one_person_who_is_refused_again_and_again_is_no_outage() -> None:
    happened(Outcome.SUSPECTED, 50, person="me")
    happened(Outcome.SUSPECTED, 50, person="another who left")

    assert history.is_outage(refused("me")) is False


def test_this_person_counts_once(settings: Settings) -> None:
    settings.OUTAGE_GUARD_REFUSALS = 2
    happened(Outcome.SUSPECTED, 3, person="me")

    assert history.is_outage(refused("me")) is False
