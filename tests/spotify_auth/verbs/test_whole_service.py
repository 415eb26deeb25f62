"""Pause and resume all refreshing, and end a cool-down."""

from concurrent.futures import Future
from dataclasses import replace
from datetime import timedelta

import pytest
import redis
from django.contrib.admin.models import LogEntry
from django.db import IntegrityError, connection
from django.db.models.functions import Now
from pytest_django import Settings

from accounts.models import User
from spotify_auth import connections, cooldown, service_pause, verbs
from spotify_auth.cooldown import Reason
from spotify_auth.figures import traffic
from spotify_auth.models import Outcome, ServicePause, SpotifyToken
from spotify_auth.refresh import claims, lanes
from spotify_auth.refresh.refresher import refresh_user
from spotify_auth.verbs import Operator
from spotify_auth.web_api import pace as web_api_pace
from tests.support.lanes import refresh_next
from tests.support.paces import learned, plant
from tests.support.processes import wait_for
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Connect, Elsewhere, connect_users, grant_of, make_due, token_of

pytestmark = pytest.mark.django_db(transaction=True)

ANNA = Operator.named("anna")


def pause_all() -> verbs.Result:
    return verbs.pause_all(operator=ANNA, reason="PostgreSQL moves")


def resume_all() -> verbs.Result:
    return verbs.resume_all(operator=ANNA, reason="it has moved")


def test_no_lane_claims_anything_after_the_commit_and_exchanges_in_hand_are_stored(
    connect: Connect, spotify: Sandbox, elsewhere: Elsewhere, settings: Settings
) -> None:
    settings.TOKEN_ENDPOINT_DEADLINE_SECONDS = 20
    first = connect("user-9")
    spotify.faults("hold", times=1)
    running: Future[object] = elsewhere(lanes.run_lane)
    wait_for(lambda: spotify.stats()["held"] == 1, what="the exchange to be in flight")
    for user in connect_users(spotify, 3):
        make_due(user)

    assert pause_all().is_done
    spotify.release()

    assert running.result() == 1
    assert token_of(first).generation == 2
    SpotifyToken.objects.filter(generation=1).update(due_at=Now() - timedelta(days=1))
    assert elsewhere(lanes.run_lane).result() == 0
    assert lanes.open_lanes() == 0
    assert spotify.stats()["totals"]["refreshes_attempted"] == 1
    assert resume_all().is_done
    assert lanes.open_lanes() > 0
    assert elsewhere(lanes.run_lane).result() == 3


@pytest.mark.parametrize("sql", ["FROM_START", "FROM_CURSOR", "OF_USER", "_FOR_PROBE", "_APPEAL"])
def test_each_claim_looks_for_the_pause_once_for_the_statement(sql: str) -> None:
    statement = getattr(claims, sql)
    parameters: dict[str, str | int] = {
        "due_from": str(connections.database_now()),
        "user_id": 1,
    }
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {statement}", parameters)
        plan = "\n".join(line for (line,) in cursor.fetchall())

    assert "InitPlan" in plan
    assert plan.count("spotify_auth_servicepause") == 1


def test_no_claim_of_a_user_of_a_probe_or_of_an_appeal_comes_through(
    connect: Connect, spotify: Sandbox
) -> None:
    user, refused = connect("user-1"), connect("user-2", due=False)
    SpotifyToken.objects.filter(pk=refused.pk).update(
        status="reconnect_required", appeal_at=Now() - timedelta(hours=1)
    )
    pause_all()

    cooldown.start(Reason.UNAVAILABLE, seconds=1)
    cooldown.lift()
    assert refresh_user(user.pk) is None
    assert refresh_next() is None

    resume_all()
    assert refresh_user(user.pk) is Outcome.REFRESHED
    assert refresh_next() is Outcome.REFRESHED


def test_logins_go_on(connect: Connect, spotify: Sandbox) -> None:
    user = connect()
    pause_all()

    grant = grant_of(spotify.connect(["user-1"])["user-1"])
    assert connections.connect(user_id=user.pk, grant=grant, issued_at=connections.database_now())


def test_pages_are_told_since_when_by_whom_and_why() -> None:
    assert service_pause.current() is None
    root = User.objects.create_superuser("root")

    assert verbs.pause_all(operator=Operator.of(root), reason="PostgreSQL moves").is_done
    assert not pause_all().is_done

    paused = service_pause.current()
    assert paused
    assert (paused.by, paused.reason) == ("root", "PostgreSQL moves")
    assert connections.database_now() - paused.since < timedelta(minutes=1)
    assert resume_all().is_done
    assert not resume_all().is_done
    assert service_pause.current() is None
    over = ServicePause.objects.get()
    assert (over.ended_by, over.end_reason) == ("anna", "it has moved")
    entry = LogEntry.objects.get()
    assert entry.change_message == "All refreshing paused: PostgreSQL moves"
    assert entry.get_edited_object() == over


def test_two_pauses_at_once_are_one() -> None:
    pause_all()

    with pytest.raises(IntegrityError, match="service_paused_once"):
        ServicePause.objects.create(by="b", reason="r")


def test_a_lifted_cooldown_lets_every_lane_go(connect: Connect, settings: Settings) -> None:
    connect()
    root = Operator.of(User.objects.create_superuser("root"))
    assert not verbs.lift_cooldown(operator=root, reason="r").is_done
    cooldown.start(Reason.RESTORING, seconds=60)
    assert "after-restore" in verbs.lift_cooldown(operator=root, reason="r").sentence
    assert cooldown.left() > 50
    assert not LogEntry.objects.exists()
    cooldown.stop(Reason.RESTORING)
    cooldown.start(Reason.RATE_LIMITED, seconds=60)
    assert refresh_next() is None

    assert verbs.lift_cooldown(operator=root, reason="Spotify called").is_done

    with redis.Redis.from_url(settings.REDIS_URL) as client:
        assert not client.exists(*cooldown.KEYS)
    assert refresh_next() is Outcome.REFRESHED
    assert LogEntry.objects.get().change_message == "Cool-down lifted: Spotify called"


def test_a_forgotten_pace_lets_every_lane_ask(no_cooldown: None) -> None:
    root = Operator.of(User.objects.create_superuser("root"))
    assert not verbs.forget_pace(operator=root, reason="r").is_done
    plant(2.0)
    web_api_pace._learn(lambda pace, *_: replace(pace, rate=3.0), tries=1)

    said = verbs.forget_pace(operator=root, reason="the limit was raised")

    assert said.sentence == (
        "Forgotten until the next 429: 2.0 refreshes a second, 3.0 Web API calls a second."
    )
    assert learned() is None
    assert traffic.look().web_api_pace == float("inf")
    assert LogEntry.objects.get().change_message == "Pace forgotten: the limit was raised"
