"""The pace that all processes share, on a real Redis and beside limits of the sandbox."""

import time
from dataclasses import replace
from datetime import timedelta
from threading import Event
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import redis
from django.db.models.functions import Now
from pytest_django import Settings

from dev.process import free_port
from spotify_auth import cooldown, login, pace, pace_rule, redis_client
from spotify_auth.cooldown import Admission, Reason
from spotify_auth.figures import traffic
from spotify_auth.figures.tables import StatusCount
from spotify_auth.login_failures import LoginFailed
from spotify_auth.models import SpotifyToken
from spotify_auth.pace_rule import Pace
from spotify_auth.refresh import lanes, need, own_pace, permits
from spotify_auth.refresh.attempts import Attempts
from spotify_auth.refresh.own_pace import OwnPace
from spotify_auth.refresh.process import process
from tests.support.claims import begin
from tests.support.paces import count_for_long, learned, plant
from tests.support.processes import wait_for
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Connect, Elsewhere, token_of

DAY = pace_rule.FORGOTTEN_SECONDS


@pytest.fixture
def moment(no_cooldown: None, monkeypatch: pytest.MonkeyPatch) -> float:
    """By the clocks of Redis and of this process, time stands still: no permit comes meanwhile.

    The moment by `time.monotonic()`.
    """
    run, at, now = redis_client.run, time.monotonic(), int(time.time())

    def run_now(script: str, **how: Any) -> Any:
        return run(script.replace("redis.call('TIME')", f"{{{now}, 0}}"), **how)

    monkeypatch.setattr(redis_client, "run", run_now)
    for module in (own_pace, permits):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: at))
    return at


def ask(lane: Attempts | None = None) -> Admission:
    """What a lane is told before an exchange, which then hangs."""
    return begin(lane=lane).admission


@pytest.mark.django_db
def test_unlimited_until_the_first_429_which_teaches_what_was_carried(
    connect: Connect, spotify: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    for n in range(21):
        connect(f"user-{n}")
    spotify.faults("limit", calls=20, retry_after="7")
    count_for_long()

    assert lanes.run_lane() == 21

    seen = pace.known()
    assert seen.pace.rate == pytest.approx(20 / 30 * pace_rule.KEPT_SHARE)
    assert (seen.carried.window, spotify.summary()["totals"]["rate_limited"]) == (20, 1)
    assert 0 < cooldown.left() <= 7
    assert "pace_learned pace=0.66 before=none carried=20" in caplog.text


@pytest.mark.parametrize("looks", [False, True])
def test_a_429_to_the_first_exchanges_that_redis_counts_teaches_nothing_yet(
    no_cooldown: None, settings: Settings, looks: bool
) -> None:
    """Of what went on before, in this window too, a new Redis knows nothing."""
    lane = Attempts()
    for _ in range(20):
        ask(lane)
    if looks:
        lane.permit.look()

    assert pace.refused(began=0.0, retry_after=7.0) == 7

    assert learned() is None
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        for moment in ("counted_from", "refused_at"):
            client.hincrbyfloat(pace.KEYS[0], moment, -pace_rule.WINDOW_SECONDS)
    ask(lane)
    pace.refused(began=0.0, retry_after=7.0)
    assert learned() == pytest.approx(19 / 30 * pace_rule.KEPT_SHARE)


@pytest.mark.django_db(transaction=True)
def test_all_lanes_keep_the_pace_together(
    connect: Connect, spotify: Sandbox, elsewhere: Elsewhere
) -> None:
    users = [connect(f"user-{n}") for n in range(30)]
    spotify.faults("limit", kind="bucket", calls=12, seconds=1.0)
    plant(9.0)

    running = [elsewhere(lanes.run_lane) for _ in range(8)]
    for lane in running:
        lane.result()

    assert {token_of(user).generation for user in users} == {2}
    assert spotify.summary()["totals"]["rate_limited"] == 0


@pytest.mark.django_db(transaction=True)
def test_a_lane_that_waits_takes_the_token_that_is_most_urgent_then(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = connect("user-1"), connect("user-2")
    urgent = connect("user-3", due=False)
    plant(pace_rule.LOWEST)
    wait = permits.Permit.wait

    def wait_while_one_becomes_urgent(permit: permits.Permit, stopping: Event) -> None:
        waiting = SpotifyToken.objects.filter(pk=urgent.pk, generation=1)
        waiting.update(due_at=Now() - timedelta(hours=1))
        wait(permit, stopping)

    monkeypatch.setattr(permits.Permit, "wait", wait_while_one_becomes_urgent)
    assert lanes.run_lane() == 3

    refreshed = sorted([first, second, urgent], key=lambda user: token_of(user).refreshed_at)
    assert refreshed == [first, urgent, second]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("reason", "seconds", "taken"),
    [(Reason.RATE_LIMITED, 1, 1), (Reason.RATE_LIMITED, 60, 0), (Reason.UNAVAILABLE, 5, 0)],
)
def test_a_lane_waits_for_the_end_of_a_short_pause_that_spotify_asked_for(
    connect: Connect, reason: Reason, seconds: float, taken: int
) -> None:
    connect("user-1")
    cooldown.start(reason, seconds=seconds)

    assert lanes.run_lane() == taken


def test_a_lane_that_would_have_to_wait_long_ends(moment: float) -> None:
    plant(1.0)
    lanes_of_a_worker = [Attempts(may_wait=True) for _ in range(5)]

    admissions = [ask(lane) for lane in lanes_of_a_worker]

    # The first has its next permit in a second, the second waits for two, and the others end.
    assert admissions == [Admission.GO, *[Admission.WAIT] * 4]
    assert [lane.permit.comes for lane in lanes_of_a_worker] == [True, True, False, False, False]


def test_permits_of_lanes_that_were_killed_block_nobody(no_cooldown: None) -> None:
    plant(2.0)
    for _ in range(6):
        ask(Attempts(may_wait=True))

    wait_for(lambda: ask() is Admission.GO, what="a permit")


def test_a_permit_of_a_lane_that_ends_is_anothers(moment: float) -> None:
    plant(pace_rule.LOWEST)
    lane, another = Attempts(may_wait=True), Attempts(may_wait=True)
    ask(lane)

    assert not (ask(another), another.permit.comes)[1]
    lane.flush()
    ask(another)
    assert another.permit.comes


@pytest.mark.parametrize("seconds", [0.0, 2 + pace.STALE_SECONDS], ids=["early", "late"])
def test_a_permit_is_good_at_its_moment_only(moment: float, seconds: float) -> None:
    plant(pace_rule.LOWEST)
    lane = Attempts(may_wait=True)
    ask(lane)  # its next permit comes in two seconds
    lane.permit.kept -= 1000 * seconds

    assert ask(lane) is Admission.WAIT


def test_a_clock_of_redis_that_went_back_keeps_nobody_waiting(
    no_cooldown: None, settings: Settings
) -> None:
    plant(pace_rule.LOWEST)
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        ahead = time.time() + 3600
        client.hset(
            pace.KEYS[0], mapping={"next": ahead * 1000, "look_at": ahead * 1000, "best_at": ahead}
        )
        for moment in ("refused_at", "looked_at", "counted_from", "waited_at"):
            client.hset(pace.KEYS[0], moment, ahead)
    lane = Attempts()

    assert ask(lane) is Admission.GO

    lane.permit.look()
    seen = pace.known()
    known = [seen.pace.looked_at, seen.pace.refused_at, seen.pace.counted_from, seen.pace.best_at]
    assert max(moment or 0.0 for moment in known) <= seen.now
    assert not traffic.look().pace_is_felt


def test_who_learns_at_the_same_time_as_another_begins_with_what_that_has_learned(
    no_cooldown: None,
) -> None:
    plant(8.0)
    rates = []

    def learn(seen: pace.Known) -> Pace:
        rates.append(seen.pace.rate)
        if len(rates) == 1:
            plant(3.0)  # another process
        return seen.pace

    pace._change(learn)

    assert rates == [8.0, 3.0]
    assert learned() == 3.0


def test_a_pace_is_forgotten_also_while_others_go_on_learning(
    no_cooldown: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(8.0)
    known = pace.known

    def known_and_then_another_writes(**when: float) -> pace.Known:
        seen = known(**when)
        pace._written(seen, seen.pace)
        return seen

    monkeypatch.setattr(pace, "known", known_and_then_another_writes)

    assert pace.forget() == 8.0

    monkeypatch.setattr(pace, "known", known)
    assert learned() is None


def test_what_was_carried_long_ago_is_forgotten(no_cooldown: None, settings: Settings) -> None:
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.hset(pace.KEYS[1], int(time.time()) - 1000, 5)
        ask()

        assert client.hlen(pace.KEYS[1]) == 1


@pytest.mark.parametrize(("age", "forgotten"), [(DAY - 60, False), (DAY, True)])
def test_a_day_after_the_last_429_it_is_forgotten(
    moment: float, settings: Settings, age: float, forgotten: bool
) -> None:
    plant(pace_rule.LOWEST, learned_ago=age)
    ask()
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.hset(pace.KEYS[0], "look_at", 0)

    lane = Attempts()
    ask(lane)
    lane.permit.look()

    assert (learned() is None) is forgotten
    assert (ask() is Admission.GO) is forgotten
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        assert client.ttl(pace.KEYS[0]) > DAY


def test_it_rises_while_lanes_wait(moment: float, settings: Settings) -> None:
    for waits in (False, True):
        plant(1.0, tried_for=7200.0)
        ask()
        if waits:
            ask()
        with redis.Redis.from_url(settings.REDIS_URL) as client:
            client.hset(pace.KEYS[0], "looked_at", pace.known().pace.looked_at - 20)
        pace.look()

        assert (learned() > 1.0) is waits  # type: ignore[operator]


def test_a_probe_needs_no_permit(no_cooldown: None) -> None:
    plant(pace_rule.LOWEST)
    ask()
    cooldown.start(cooldown.Reason.UNAVAILABLE, seconds=1)

    wait_for(lambda: ask() is Admission.PROBE, what="the end of the pause")


def test_what_is_forgotten_by_hand_stays_forgotten(no_cooldown: None) -> None:
    plant(pace_rule.LOWEST)
    lane = Attempts()
    ask(lane)

    assert pace.forget() == pace_rule.LOWEST

    lane.permit.look()
    assert [ask(lane) for _ in range(3)] == [Admission.GO] * 3
    lane.permit.look()
    assert learned() is None


def lose_redis(settings: Settings) -> str:
    """Nobody listens there any more; where it was."""
    url = str(settings.REDIS_URL)
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    return url


def test_without_redis_a_worker_keeps_its_share(moment: float, settings: Settings) -> None:
    plant(10.0)
    with process.running.one_more():
        ask()
        another_workers = [Attempts() for _ in range(9)]
        for lane in another_workers:
            ask(lane)
        ask()  # eleven lanes, of which this process has one
        url = lose_redis(settings)
        lane = Attempts(may_wait=True)

        assert [ask(lane), ask(lane)] == [Admission.GO, Admission.WAIT]

        # Its next permit comes in a second or so, and not in a tenth of one.
        assert lane.permit._good_at - moment > 0.5
    settings.REDIS_URL = url


@pytest.mark.parametrize("is_lost", [False, True], ids=["away", "lost"])
def test_a_worker_that_was_turned_away_still_knows_the_pace(
    moment: float, settings: Settings, is_lost: bool
) -> None:
    """Redis may be lost in the pause after a 429, and all lanes be turned away before that."""
    ask()
    plant(3.0)  # another worker was quicker to learn it
    cooldown.start(cooldown.Reason.RATE_LIMITED, seconds=30)
    assert ask() is Admission.PAUSED

    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete(*pace.KEYS, *cooldown.KEYS)
    if not is_lost:
        url = lose_redis(settings)

    assert [ask(), ask()] == [Admission.GO, Admission.WAIT]
    if not is_lost:
        settings.REDIS_URL = url


def test_without_redis_who_does_not_wait_takes_no_permit_of_who_does(
    moment: float, settings: Settings
) -> None:
    plant(3.0)
    ask()
    url = lose_redis(settings)
    assert ask() is Admission.GO

    for _ in range(20):
        assert ask() is Admission.WAIT  # lanes of one user each

    lane = Attempts(may_wait=True)
    ask(lane)
    assert lane.permit.comes
    settings.REDIS_URL = url


def test_without_redis_a_worker_pauses_no_longer_than_all_would(
    no_cooldown: None, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = lose_redis(settings)
    begin().refused(retry_after=9_999_999_999)
    assert ask() is Admission.WAIT

    later = time.monotonic() + cooldown.LONGEST_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: later)

    assert ask() is Admission.GO
    settings.REDIS_URL = url


def test_what_was_learned_without_redis_is_shared_when_it_is_back(
    moment: float, settings: Settings
) -> None:
    plant(8.0)
    ask()
    ask()  # of two lanes this process has one: half of the pace
    url = lose_redis(settings)
    attempts = [begin() for _ in range(2)]
    assert [attempt.admission for attempt in attempts] == [Admission.GO, Admission.WAIT]
    attempts[0].refused(retry_after=30)
    assert ask() is Admission.WAIT  # everybody here pauses

    settings.REDIS_URL = url
    lane = Attempts()
    ask(lane)
    ask(lane)  # for an appeal, say, before it looks
    lane.permit.look()

    assert learned() == pytest.approx(8 * pace_rule.AGAIN_SHARE)


@pytest.mark.parametrize(
    ("workers", "share"),
    [(1, None), (10, 0.1)],
    ids=["a new worker", "one of ten"],
)
def test_before_any_pace_a_worker_teaches_by_its_share_what_it_learned_alone(
    no_cooldown: None, settings: Settings, workers: int, share: float | None
) -> None:
    """What one of ten carried is not the limit of all."""
    if share:
        with process.running.one_more():
            for _ in range(workers):
                ask(Attempts())
            with redis.Redis.from_url(settings.REDIS_URL) as client:
                client.hset(pace.KEYS[0], "look_at", 0)
            ask()  # it is told of the lanes, since it looks
            ask()  # and now of nothing, since there is no pace
    process.own_pace._since -= pace_rule.WINDOW_SECONDS
    url = lose_redis(settings)
    attempts = [begin() for _ in range(20)]
    attempts[0].refused(retry_after=1.0)
    assert process.own_pace._alone
    alone = process.own_pace._alone.rate
    assert alone

    settings.REDIS_URL = url
    lane = Attempts()
    ask(lane)
    lane.permit.look()

    assert learned() == (share and pytest.approx(alone * 12, rel=0.2))


def test_without_redis_the_pace_rises_while_lanes_wait() -> None:
    for waits in (False, True):
        own = OwnPace()
        own.told(1.0, share=1.0)
        own.wait(longest=0.0)
        if waits:
            own.wait(longest=0.0)
        assert own._alone
        own._alone = replace(own._alone, looked_at=own._alone.looked_at - 20)

        own.wait(longest=0.0)

        assert own._alone.rate
        assert (own._alone.rate > 1.0) is waits


def test_without_redis_what_is_refused_was_not_carried() -> None:
    own = OwnPace()
    for _ in range(20):
        own.count()
    own.refused(began=0.0, retry_after=1.0)
    assert own._alone
    assert own._alone.rate is None  # the process has just begun to count

    own = OwnPace()
    own._since -= pace_rule.WINDOW_SECONDS
    for _ in range(20):
        own.count()
    own.refused(began=0.0, retry_after=1.0)

    assert own._alone
    assert own._alone.evidence == 19


def test_a_redis_that_lost_its_memory_is_told_what_workers_know(
    moment: float, settings: Settings
) -> None:
    plant(3.0)
    lane = Attempts()
    ask(lane)
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete(*pace.KEYS)

    # The pace holds before any lane has looked.
    assert [ask(lane), *(ask() for _ in range(3))] == [Admission.GO, *3 * [Admission.WAIT]]
    lane.permit.look()

    assert learned() == pytest.approx(3.0)


def test_a_redis_that_lost_its_memory_is_told_at_once_what_a_worker_learned_alone(
    no_cooldown: None, settings: Settings
) -> None:
    plant(8.0)
    ask()
    url = lose_redis(settings)
    begin().refused(retry_after=30)
    settings.REDIS_URL = url
    with redis.Redis.from_url(url) as client:
        client.delete(*pace.KEYS)

        ask()

        interval = float(client.hget(pace.KEYS[0], "interval"))
    assert interval == pytest.approx(1000 / (8 * pace_rule.AGAIN_SHARE))


@pytest.mark.parametrize("is_lost", [False, True], ids=["away", "lost"])
def test_a_429_soon_after_redis_was_gone_does_not_teach_what_was_counted_since(
    no_cooldown: None, settings: Settings, is_lost: bool
) -> None:
    plant(8.0)
    lane = Attempts()
    ask(lane)
    if not is_lost:
        url = lose_redis(settings)
        ask(lane)
        settings.REDIS_URL = url
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        if is_lost:
            client.delete(*pace.KEYS)
        ask(lane)
        lane.permit.look()
        client.hset(pace.KEYS[0], "refused_at", pace.known().now - 60)
    for _ in range(pace_rule.EVIDENCE):
        pace.count_login()

    pace.refused(began=0.0, retry_after=1.0)

    assert learned() == pytest.approx(8 * pace_rule.AGAIN_SHARE)


@pytest.mark.parametrize("is_away", [False, True])
def test_a_login_goes_at_once_and_the_lanes_leave_room_for_it(
    moment: float, settings: Settings, is_away: bool
) -> None:
    plant(pace_rule.LOWEST)
    url = lose_redis(settings) if is_away else settings.REDIS_URL

    pace.count_login()
    pace.count_login()

    settings.REDIS_URL = url
    assert pace.known().carried.window == (0 if is_away else 2)
    assert (ask() is Admission.GO) is is_away


@pytest.mark.django_db
def test_a_429_to_a_login_teaches_and_pauses_all(spotify: Sandbox, no_cooldown: None) -> None:
    count_for_long()
    for _ in range(20):
        ask()
    spotify.faults("rate_limited", retry_after="9")
    begun = login.begin(door=login.Door.LOGIN, next_url="", user_id=None, cookie="")
    state = parse_qs(urlsplit(begun.url).query)["state"][0]

    with pytest.raises(LoginFailed):
        login.complete(
            state=state,
            cookie=begun.cookie,
            previous_cookie="",
            code="c",
            error="",
            user_id=None,
            doors=[login.Door.LOGIN],
        )

    assert learned() == pytest.approx(20 / 30 * pace_rule.KEPT_SHARE)
    assert ask() is Admission.PAUSED
    assert 0 < cooldown.left() <= 9


@pytest.mark.django_db
def test_a_pace_below_the_need_is_an_error_once_a_minute_while_tokens_wait(
    moment: float, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    StatusCount.objects.create(status="active", tokens=27_000, counted_at=Now())
    plant(8.0)
    need.report()
    assert "pace_below_need" not in caplog.text  # nobody waits

    ask()
    ask()
    need.report()
    need.report()

    assert caplog.text.count("ERROR") == 1
    assert "pace_below_need pace=8.00 need=10.00" in caplog.text
    plant(11.0)
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete(need._REPORTED)
    need.report()
    assert caplog.text.count("ERROR") == 1
