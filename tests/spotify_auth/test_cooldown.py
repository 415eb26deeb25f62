"""The shared pause and the outage guard, on a real Redis."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import redis
from django.db import OperationalError
from django.db import connection as database
from django.db.models.functions import Now
from pytest_django import Settings

from dev.process import free_port
from spotify_auth import cooldown
from spotify_auth.cooldown import Admission, Reason
from spotify_auth.models import Outcome, SpotifyToken
from spotify_auth.refresh import refresher
from spotify_auth.refresh.attempts import Attempts
from spotify_auth.refresh.history import FAILED_IN_A_ROW
from tests.support.claims import begin
from tests.support.database_faults import commit_unacknowledged
from tests.support.lanes import refresh_next
from tests.support.processes import wait_for
from tests.support.redis_clock import now_of
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Connect, make_due, make_long_refused, token_of

pytestmark = pytest.mark.django_db


def pass_the_pause(settings: Settings) -> None:
    """Let the pause run out at once, as Redis would in its time."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete(cooldown._PAUSE)


def let_end_soon(settings: Settings, *keys: str) -> None:
    """Let these run out by themselves, all in one moment and sooner than they would."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        end = now_of(client) + 200
        for key in keys:
            client.pexpireat(key, end)


def ask(lane: Attempts | None = None) -> Admission:
    """What a lane is told before an exchange, which then hangs."""
    return begin(lane=lane).admission


def test_every_lane_may_go_when_nothing_happened(no_cooldown: None) -> None:
    assert [ask() for _ in range(3)] == [Admission.GO] * 3


def test_a_pause_ends_with_one_probe(no_cooldown: None, settings: Settings) -> None:
    cooldown.start(Reason.UNAVAILABLE, seconds=60)

    assert ask() is Admission.PAUSED
    let_end_soon(settings, cooldown._PAUSE)
    wait_for(lambda: ask() is Admission.PROBE, what="the end of the pause")
    assert [ask() for _ in range(2)] == [Admission.PAUSED] * 2
    cooldown.close()
    assert ask() is Admission.GO


def test_after_a_429_nobody_probes(no_cooldown: None, settings: Settings) -> None:
    cooldown.start(Reason.RATE_LIMITED, seconds=60)

    assert ask() is Admission.PAUSED
    let_end_soon(settings, cooldown._PAUSE, cooldown._HALF_OPEN)
    wait_for(lambda: ask() is not Admission.PAUSED, what="the end of the pause")
    assert [ask() for _ in range(3)] == [Admission.GO] * 3
    assert cooldown.reason() == ""


def test_a_pause_of_another_process_holds_at_once(no_cooldown: None, settings: Settings) -> None:
    lane = Attempts()
    assert ask(lane) is Admission.GO
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.set(cooldown._PAUSE, "outage", px=60_000)
        client.set(cooldown._HALF_OPEN, "outage")

    assert ask(lane) is Admission.PAUSED


def test_a_probe_that_told_nothing_lets_the_next_lane_try(
    no_cooldown: None, settings: Settings
) -> None:
    cooldown.start(Reason.UNAVAILABLE, seconds=60)
    pass_the_pause(settings)
    lane = Attempts()
    assert ask(lane) is Admission.PROBE

    cooldown.release_probe(lane.name)

    assert ask() is Admission.PROBE


def test_a_lane_takes_nobody_elses_probe_away(no_cooldown: None, settings: Settings) -> None:
    """A lane that was frozen while it probed wakes up when another lane probes."""
    cooldown.start(Reason.UNAVAILABLE, seconds=60)
    pass_the_pause(settings)
    assert ask() is Admission.PROBE

    cooldown.release_probe("a lane whose probe has run out")

    assert ask() is Admission.PAUSED


def test_a_new_pause_ends_the_probe_before_it(no_cooldown: None, settings: Settings) -> None:
    """Or nobody would probe at its end, until that probe's place has run out."""
    cooldown.start(Reason.UNAVAILABLE, seconds=60)
    pass_the_pause(settings)
    assert ask() is Admission.PROBE

    cooldown.start(Reason.UNAVAILABLE, seconds=60)
    pass_the_pause(settings)

    assert ask() is Admission.PROBE


def test_a_shorter_pause_does_not_shorten_a_longer_one(
    no_cooldown: None, settings: Settings
) -> None:
    cooldown.start(Reason.RATE_LIMITED, seconds=500)
    cooldown.start(Reason.CLIENT_REFUSED, seconds=5)

    with redis.Redis.from_url(settings.REDIS_URL) as client:
        assert client.pttl(cooldown._PAUSE) > 490_000


@pytest.mark.parametrize(
    ("asked", "longest"),
    [
        (10**9, 3600),  # "come back in thirty years"
        (0, 1),
        (-5, 1),
    ],
)
def test_the_length_of_a_pause_is_bounded(
    no_cooldown: None, settings: Settings, asked: float, longest: float
) -> None:
    with redis.Redis.from_url(settings.REDIS_URL) as client:

        def left() -> int:
            cooldown.start(Reason.RATE_LIMITED, seconds=asked)
            milliseconds: int = client.pttl(cooldown._PAUSE)
            return milliseconds

        # On a slow machine a second may have passed before it is looked at.
        wait_for(lambda: 0 < left() <= longest * 1000, what="a pause of that length")


def test_without_redis_work_goes_on(settings: Settings) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"

    assert ask() is Admission.GO
    cooldown.start(Reason.UNAVAILABLE, seconds=5)
    cooldown.close()
    cooldown.release_probe("any")


@pytest.mark.parametrize("retry_after", ["100", None])
def test_a_429_pauses_all_and_puts_its_row_off(
    connect: Connect,
    spotify: Sandbox,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    retry_after: str | None,
) -> None:
    users = [connect(f"user-{n}") for n in range(3)]
    # Once: had another lane continued, its token would have been refreshed.
    spotify.faults("rate_limited", retry_after=retry_after, times=1)

    assert [refresh_next() for _ in range(5)] == [Outcome.RETRY] + [None] * 4
    assert refresher.refresh_user(users[1].pk) is None

    assert spotify.stats()["totals"]["refreshes"] == 0
    assert [token_of(user).last_error for user in users] == ["rate_limited", "", ""]
    assert "cooldown_on reason=rate_limited" in caplog.text
    pass_the_pause(settings)
    make_due(users[0])
    assert [refresh_next() for _ in range(3)] == [Outcome.REFRESHED] * 3
    assert "cooldown_off" in caplog.text


def test_our_own_credentials_pause_all_when_three_tokens_met_the_error(
    connect: Connect, spotify: Sandbox, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    users = [connect(f"user-{n}") for n in range(8)]
    spotify.faults("invalid_client")

    while refresh_next() is not None:
        pass
    assert spotify.stats()["totals"]["refreshes_attempted"] == 3
    assert "cooldown_on reason=client_refused" in caplog.text

    for n in range(3):  # a healthy token probes at the end of each pause
        pass_the_pause(settings)
        while refresh_next() is not None:
            pass
        assert spotify.stats()["totals"]["refreshes_attempted"] == 4 + n
    spotify.clear()
    pass_the_pause(settings)
    for user in users:
        make_due(user)
    while refresh_next() is not None:
        pass
    assert {token_of(user).generation for user in users} == {2}
    assert {token_of(user).status for user in users} == {"active"}


ODD_ANSWERS: list[dict[str, Any]] = [
    {"fault": "garbage", "status": 400, "body": '{"error": "invalid_request"}'},
    {"fault": "garbage", "status": 401, "body": '{"error": "invalid_client"}'},
    {"fault": "rate_limited", "retry_after": "100"},
    {"fault": "unavailable"},
    {"fault": "false_invalid_grant"},
]


@pytest.mark.parametrize("odd", [["user-0"], ["user-0", "user-1"]])
@pytest.mark.parametrize("fault", ODD_ANSWERS, ids=lambda fault: str(fault.get("body", fault)))
def test_odd_rows_stop_nobody_else(
    connect: Connect, spotify: Sandbox, settings: Settings, fault: dict[str, Any], odd: list[str]
) -> None:
    users = [connect(f"user-{n}") for n in range(50 if len(odd) > 1 else 6)]
    for user in users[: len(odd)]:
        SpotifyToken.objects.filter(pk=user.pk).update(due_at=Now() - timedelta(seconds=90))
    spotify.faults(**fault, users=odd)

    for _ in range(10):
        while refresh_next() is not None:
            pass
        pass_the_pause(settings)

    assert {token_of(user).generation for user in users[len(odd) :]} == {2}
    assert all(
        user.spotify_auth_events.filter(outcome="refreshed").count() == 0 for user in users[:1]
    )
    # They have a history of their own, and back off.
    assert all(token_of(user).failures > 0 for user in users[: len(odd)])


@pytest.mark.parametrize("fault", ODD_ANSWERS, ids=lambda fault: str(fault.get("body", fault)))
def test_an_odd_row_that_is_the_only_one_due_is_asked_for_again(
    connect: Connect, spotify: Sandbox, settings: Settings, fault: dict[str, Any]
) -> None:
    """It is no probe, so the cool-down that it may have started must end by itself."""
    user = connect("user-0")
    spotify.faults(**fault, users=["user-0"], times=1)
    assert refresh_next() in {Outcome.RETRY, Outcome.SUSPECTED}
    make_due(user)
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        # In this order: after a 429 both end at the same time, and time passes between the two.
        half_open, pause = client.pttl(cooldown._HALF_OPEN), client.pttl(cooldown._PAUSE)
        assert pause < 0 or pause <= half_open <= pause + 60_100
        client.delete(*cooldown.KEYS)  # so much time has passed

    assert refresh_next() is Outcome.REFRESHED


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("100", 100),
        ("86400", 3600),  # a day: an hour at the most
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 1),
        ("0", 1),
        ("-3", 30),
        ("soon", 30),
        (None, 30),
    ],
)
def test_a_429_pauses_for_what_it_asks_within_bounds(
    connect: Connect, spotify: Sandbox, settings: Settings, retry_after: str | None, seconds: int
) -> None:
    connect()
    spotify.faults("rate_limited", retry_after=retry_after)

    assert refresh_next() is Outcome.RETRY

    with redis.Redis.from_url(settings.REDIS_URL) as client:
        # The key dies with the pause: one of a second may be gone already.
        left = client.pttl(cooldown._PAUSE)
    assert max(0, seconds - 10) * 1000 < left <= seconds * 1000 or (seconds, left) == (1, -2)


def test_a_false_mass_invalid_grant_costs_nobody_anything(
    connect: Connect, spotify: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """However often it is repeated, however long it lasts, up to six hours."""
    users = [connect(f"user-{n}") for n in range(12)]
    spotify.faults("false_invalid_grant")

    for _ in range(10):
        for user in users:
            make_long_refused(user)
        while refresh_next() is not None:
            pass
    assert {token_of(user).status for user in users} == {"active"}
    # As soon as five others are refused; and a minute has not passed since.
    assert "mass_refusal refused=6 answered=6" in caplog.text
    assert caplog.text.count("mass_refusal") == 1

    spotify.clear()
    for user in users:
        make_due(user)
    while refresh_next() is not None:
        pass
    assert {token_of(user).generation for user in users} == {2}
    assert not SpotifyToken.objects.filter(suspected_at__isnull=False).exists()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_refusals_of_a_part_pause_nobody_and_condemn_nobody(
    connect: Connect, spotify: Sandbox, share: float
) -> None:
    users = [connect(f"user-{n}") for n in range(60)]
    unlucky = users[: int(len(users) * share)]
    spotify.faults("false_invalid_grant", users=[user.account_id for user in unlucky])

    while refresh_next() is not None:
        pass
    for _ in range(4):
        for user in unlucky:
            make_long_refused(user)
        while refresh_next() is not None:
            pass

    assert {token_of(user).generation for user in users[len(unlucky) :]} == {2}
    assert {token_of(user).status for user in users} == {"active"}
    assert ask() is Admission.GO


@pytest.mark.parametrize("number", [1, 2, 5])
def test_a_few_who_removed_the_app_are_told(
    connect: Connect, spotify: Sandbox, number: int
) -> None:
    """Also when they are all the users there are."""
    users = [connect(f"user-{n}") for n in range(number)]
    spotify.revoke()

    for _ in range(3):
        for user in users:
            make_long_refused(user)
        while refresh_next() is not None:
            pass

    assert {token_of(user).status for user in users} == {"reconnect_required"}


def test_all_whose_six_months_are_over_are_told_at_once(
    connect: Connect, spotify: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    users = [connect(f"user-{n}") for n in range(20)]
    healthy = [connect(f"user-{n}") for n in range(20, 25)]
    cohort = SpotifyToken.objects.filter(pk__in=[user.pk for user in users])
    cohort.update(reauthorize_by=Now() - timedelta(hours=1))
    for n in range(20):
        spotify.expire_refresh_token(f"user-{n}")

    while refresh_next() is not None:
        pass

    assert {token_of(user).last_error for user in users} == {"six_months_over"}
    assert {token_of(user).status for user in users} == {"reconnect_required"}
    assert {token_of(user).generation for user in healthy} == {2}
    assert "mass_refusal" not in caplog.text


def test_a_mass_that_has_really_left_is_told_after_six_hours(
    connect: Connect, spotify: Sandbox, settings: Settings
) -> None:
    users = [connect(f"user-{n}") for n in range(12)]
    spotify.revoke()
    for _ in range(4):
        for user in users:
            make_long_refused(user)
        while refresh_next() is not None:
            pass
    assert {token_of(user).status for user in users} == {"active"}

    SpotifyToken.objects.update(suspected_at=Now() - timedelta(hours=6, minutes=1))
    for user in users:
        make_due(user, expired=True)
    while refresh_next() is not None:
        pass

    assert {token_of(user).status for user in users} == {"reconnect_required"}


def test_when_nobody_is_answered_one_asks_for_all(
    connect: Connect, spotify: Sandbox, settings: Settings
) -> None:
    users = [connect(f"user-{n}") for n in range(60)]
    spotify.faults("unavailable")

    for _ in range(10):
        while refresh_next() is not None:
            pass
        pass_the_pause(settings)
    # Fifty until it was plain, and then one at a time.
    assert spotify.stats()["totals"]["refreshes_attempted"] == FAILED_IN_A_ROW + 9
    spotify.clear()
    for user in users:
        make_due(user)
    while refresh_next() is not None:
        pass

    assert {token_of(user).generation for user in users} == {2}


def test_some_who_are_not_answered_do_not_stop_the_others(
    connect: Connect, spotify: Sandbox
) -> None:
    users = [connect(f"user-{n}") for n in range(60)]
    unlucky = [user.account_id for user in users[::2]]
    spotify.faults("unavailable", users=unlucky)

    while refresh_next() is not None:
        pass

    assert spotify.stats()["totals"]["refreshes"] == 30
    assert ask() is Admission.GO


def test_a_truly_revoked_token_does_not_hold_the_others_in_the_cooldown(
    connect: Connect, spotify: Sandbox, settings: Settings
) -> None:
    revoked, healthy = connect("user-1"), connect("user-2")
    SpotifyToken.objects.filter(pk=revoked.pk).update(suspected_at=token_of(revoked).refreshed_at)
    spotify.revoke("user-1")
    cooldown.start(Reason.UNAVAILABLE, seconds=60)
    pass_the_pause(settings)

    # The probe leaves out who was refused already, however urgent.
    assert refresh_next() is Outcome.REFRESHED

    assert token_of(healthy).generation == 2
    assert ask() is Admission.GO


@pytest.mark.django_db(transaction=True)
def test_a_probe_that_was_granted_ends_the_pause_also_when_postgresql_then_fails(
    connect: Connect, spotify: Sandbox, settings: Settings
) -> None:
    connect()
    cooldown.start(Reason.UNAVAILABLE, seconds=60)
    pass_the_pause(settings)

    with commit_unacknowledged(), pytest.raises(OperationalError):
        refresh_next()

    assert ask() is Admission.GO


def test_a_probe_ends_even_when_postgresql_fails(
    connect: Connect, no_cooldown: None, settings: Settings
) -> None:
    connect()
    cooldown.start(Reason.UNAVAILABLE, seconds=60)
    pass_the_pause(settings)
    with database.cursor() as cursor:
        cursor.execute("ALTER TABLE spotify_auth_spotifytoken RENAME TO away")
    try:
        with pytest.raises(Exception, match="does not exist"):
            refresh_next()
    finally:
        with database.cursor() as cursor:
            cursor.execute("ALTER TABLE away RENAME TO spotify_auth_spotifytoken")

    wait_for(partial(_a_probe_is_admitted), what="another probe")


def _a_probe_is_admitted() -> bool:
    return ask() is Admission.PROBE


def test_a_lane_that_probes_does_not_wait_for_itself(no_cooldown: None, settings: Settings) -> None:
    # The connection to Redis may be lost after the script has run; it is then sent again.
    cooldown.start(Reason.UNAVAILABLE, seconds=1)
    pass_the_pause(settings)
    lane = Attempts()

    assert [ask(lane), ask(lane), ask()] == [Admission.PROBE, Admission.PROBE, Admission.PAUSED]
