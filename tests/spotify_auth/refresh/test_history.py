"""When an `invalid_grant` is believed."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now
from pytest_django import Settings

from accounts.models import User
from spotify_auth.accounts_service.answers import Refused
from spotify_auth.models import Cause, Outcome, TokenEvent
from spotify_auth.refresh import history
from tests.support.claims import claim_of

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
