"""An operator's judgement of a token, beside lanes that judge it too."""

from datetime import timedelta

import pytest
from pytest_django import Settings

from accounts.models import User
from spotify_auth import tokens, verbs
from spotify_auth.connections import database_now
from spotify_auth.models import Outcome, SpotifyToken
from spotify_auth.refresh.refresher import refresh_user
from spotify_auth.verbs import Operator
from tests.support.lanes import refresh_next
from tests.support.processes import wait_for
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import (
    Connect,
    Elsewhere,
    make_due,
    make_long_refused,
    token_of,
    waiting_for_a_lock,
)

pytestmark = pytest.mark.django_db(transaction=True)

ANNA = Operator.named("anna")


def act(verb: str, user: User) -> verbs.Result:
    result: verbs.Result = getattr(verbs, verb)(user.pk, operator=ANNA, reason="ticket 17")
    return result


def suspect(user: User, spotify: Sandbox) -> None:
    spotify.revoke(f"user-{user.display_name[-1]}")
    assert refresh_next() is Outcome.SUSPECTED


def test_a_required_reconnect_is_final_until_it_is_taken_back(
    connect: Connect, spotify: Sandbox
) -> None:
    user = connect()

    assert act("require_reconnect", user).is_done

    with pytest.raises(tokens.ReconnectRequired, match="required_by_admin"):
        tokens.access_token_for(user.pk)
    assert token_of(user).appeal_at is None
    assert refresh_next() is None
    assert not act("require_reconnect", user).is_done
    assert act("forgive", user).is_done
    assert refresh_next() is Outcome.REFRESHED


def test_a_believed_suspicion_is_a_verdict_with_its_appeals(
    connect: Connect, spotify: Sandbox
) -> None:
    user = connect()
    assert not act("believe", user).is_done
    suspect(user, spotify)

    assert act("believe", user).is_done

    token = token_of(user)
    assert (token.status, token.last_error) == ("reconnect_required", "invalid_grant")
    assert token.appeal_at
    assert timedelta(minutes=59) < token.appeal_at - database_now() <= timedelta(hours=1)
    event = user.spotify_auth_events.first()
    assert event
    assert (event.outcome, event.error) == ("reconnect_required", "invalid_grant")
    assert (event.cause, event.asked_by, event.reason) == ("admin", "anna", "ticket 17")

    assert act("forgive", user).is_done  # an appeal that is due now
    assert refresh_next() is Outcome.RECONNECT_REQUIRED
    assert user.spotify_auth_events.first().cause == "appeal"  # type: ignore[union-attr]
    assert act("require_reconnect", user).is_done  # ends the appeals, and keeps the error
    token = token_of(user)
    assert (token.appeal_at, token.last_error) == (None, "invalid_grant")


def test_a_forgiven_suspicion_is_asked_about_at_once(connect: Connect, spotify: Sandbox) -> None:
    user = connect()
    assert not act("forgive", user).is_done
    suspect(user, spotify)
    assert refresh_next() is None
    assert not act("refresh", user).is_done

    assert act("forgive", user).is_done

    assert token_of(user).suspected_at is None
    assert refresh_next() is Outcome.SUSPECTED


def test_a_restored_token_is_not_forgiven(connect: Connect) -> None:
    user = connect()
    SpotifyToken.objects.update(status="reconnect_required", last_error="backup_restored")

    assert "must not be shown" in act("forgive", user).sentence


@pytest.mark.parametrize(
    ("verb", "status", "suspected"),
    [("believe", "reconnect_required", True), ("forgive", "active", False)],
)
def test_the_operator_judges_what_the_lane_has_decided_at_the_same_moment(
    *,
    connect: Connect,
    spotify: Sandbox,
    elsewhere: Elsewhere,
    settings: Settings,
    verb: str,
    status: str,
    suspected: bool,
) -> None:
    settings.TOKEN_ENDPOINT_DEADLINE_SECONDS = 20
    user = connect()
    spotify.revoke("user-1")
    spotify.faults("hold", times=1)
    lane = elsewhere(refresh_user, user.pk)
    wait_for(lambda: spotify.stats()["held"] == 1, what="the exchange to be in flight")
    judging = elsewhere(act, verb, user)
    wait_for(lambda: waiting_for_a_lock() == 1, what="the operator to wait for the row")

    spotify.release()

    # Before the lane's answer there was nothing to believe and nothing to forgive.
    assert lane.result() is Outcome.SUSPECTED
    assert judging.result().is_done  # type: ignore[attr-defined]
    token = token_of(user)
    assert (token.status, bool(token.suspected_at)) == (status, suspected)


def test_judged_users_are_no_sign_of_an_outage(
    connect: Connect, spotify: Sandbox, settings: Settings
) -> None:
    settings.OUTAGE_GUARD_REFUSALS = 2
    user, *others = (connect(f"user-{number}", due=False) for number in range(1, 5))
    spotify.revoke("user-1")
    make_due(user, expired=True)
    refresh_next()
    for other in others:
        assert act("require_reconnect", other).is_done

    for _ in range(2):
        make_long_refused(user)
        outcome = refresh_next()

    assert outcome is Outcome.RECONNECT_REQUIRED
