"""`/metrics`: to whom, what, and that it answers whatever is away."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta

import pytest
import redis
from django.db import connection as database
from django.db.models.functions import Now
from django.test import Client
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus
from pytest_django import Settings

from accounts.models import User
from dev.process import ROOT, free_port
from spotify_auth import chores, cooldown, metrics, redis_client, tokens
from spotify_auth.figures import roll_up, statuses
from spotify_auth.models import Chore, Presence, TokenEvent
from spotify_auth.presence import Sign
from spotify_auth.read_outcomes import KEY, ReadOutcomes, outcomes
from tests.support.admin import enter_admin
from tests.support.processes import wait_for
from tests.support.promtool import promtool
from tests.support.tokens import Connect, ago, change

# The figures are asked for in a thread, over a connection of its own.
pytestmark = pytest.mark.django_db(transaction=True)

TOKEN = "a-token-for-operators"


@pytest.fixture(autouse=True)
def figures_of_this_test(monkeypatch: pytest.MonkeyPatch) -> metrics.Figures:
    monkeypatch.setattr(metrics, "WAIT_SECONDS", 30.0)  # a slow machine is none that hangs
    figures = metrics.Figures()
    collector = metrics.FiguresCollector(figures)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    monkeypatch.setattr(metrics, "registry", registry)
    return figures


@pytest.fixture
def program(settings: Settings) -> Client:
    """As Prometheus asks: by the address of a process, without a session and without https."""
    settings.OPERATIONS_TOKEN = TOKEN
    settings.SECURE_SSL_REDIRECT = True
    return Client(headers={"authorization": f"Bearer {TOKEN}", "host": "10.1.2.3:8000"})


def scrape(program: Client) -> dict[str, float]:
    """Each sample, as `name{label="value"}`."""
    answer = program.get("/metrics")
    assert answer.status_code == 200
    return {
        sample.name + "".join(f'{{{name}="{value}"}}' for name, value in sample.labels.items()): (
            sample.value
        )
        for family in prometheus(answer.content.decode())
        for sample in family.samples
    }


@contextmanager
def postgresql_at(port: int) -> Iterator[None]:
    """Let new connections of this process lead elsewhere."""
    before = database.settings_dict["PORT"]
    database.settings_dict["PORT"] = port
    try:
        yield
    finally:
        database.settings_dict["PORT"] = before


def test_only_operators_are_told(program: Client, settings: Settings, admin_user: User) -> None:
    assert program.get("/metrics").status_code == 200
    assert program.post("/metrics").status_code == 405
    settings.SECURE_SSL_REDIRECT = False
    assert Client().get("/metrics").status_code == 404
    wrong = Client(headers={"authorization": "Bearer x"})
    assert wrong.get("/metrics").status_code == 404
    settings.OPERATIONS_TOKEN = ""
    assert program.get("/metrics").status_code == 404
    assert Client(headers={"authorization": "Bearer "}).get("/metrics").status_code == 404

    staff = Client()
    staff.force_login(admin_user)  # as by Spotify
    assert staff.get("/metrics").status_code == 404
    enter_admin(staff, admin_user)
    answer = staff.get("/metrics")
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]


def test_what_it_says(connect: Connect, program: Client, settings: Settings) -> None:
    well, stale, refused, ended, paused = (connect(f"user-{n}", due=False) for n in range(5))
    begun = time.monotonic()
    change(stale, due_at=ago(70), expires_at=ago(20))
    change(refused, failures=2, suspected_at=ago(60), expires_at=ago(30))
    change(ended, status="reconnect_required")
    change(paused, status="paused", expires_at=ago(10))
    for duration in (90, 700):
        TokenEvent.objects.create(
            user=well, cause="schedule", outcome="refreshed", rotated=True, duration_ms=duration
        )
    TokenEvent.objects.create(user=stale, cause="schedule", outcome="retry", duration_ms=12_000)
    roll_up.roll_up()
    statuses.count()
    Chore.objects.create(name=chores.SWEEP, done_at=Now() - timedelta(seconds=8))
    Sign(Presence.Kind.WORKER).show()
    cooldown.start(cooldown.Reason.UNAVAILABLE, seconds=60)
    outcomes.add()  # what other tests have read
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete(KEY)
    tokens.access_token_for(well)
    for user in (stale, refused):
        with pytest.raises(tokens.TokenStale):
            tokens.access_token_for(user)
    with pytest.raises(tokens.RefreshPaused):
        tokens.access_token_for(paused)
    outcomes.add()

    found = scrape(program)
    passed = time.monotonic() - begun + 0.1

    assert found['spotify_up{part="postgresql"}'] == found['spotify_up{part="redis"}'] == 1
    assert found['spotify_token_refresh_total{outcome="refreshed"}'] == 2
    assert found['spotify_token_refresh_total{outcome="retry"}'] == 1
    assert found['spotify_token_refresh_total{outcome="suspected"}'] == 0
    assert found['spotify_token_events_total{outcome="connected"}'] == 5
    assert found["spotify_token_rotations_total"] == 2
    assert found["spotify_token_refresh_seconds_count"] == 3
    assert found["spotify_token_refresh_seconds_sum"] == pytest.approx(12.79)
    assert found['spotify_token_refresh_seconds_bucket{le="0.1"}'] == 1
    assert found['spotify_token_refresh_seconds_bucket{le="10.0"}'] == 2
    assert found['spotify_tokens{status="active"}'] == 3
    assert found['spotify_tokens{status="reconnect_required"}'] == 1
    assert found["spotify_tokens_overdue"] == 1
    assert 70 <= found["spotify_token_oldest_overdue_seconds"] <= 70 + passed
    assert -20 - passed <= found["spotify_token_min_seconds_to_expiry"] <= -20
    assert (found["spotify_tokens_stale"], found["spotify_tokens_stale_refused"]) == (1, 1)
    assert found["spotify_tokens_fresh_ratio"] == pytest.approx(1 / 3)
    assert found["spotify_freshness_budget_seconds"] == pytest.approx(604.8)
    assert found["spotify_service_paused"] == 0
    assert 8 <= found["spotify_sweep_age_seconds"] <= 8 + passed
    assert found['spotify_processes{kind="worker"}{version="0.1.0"}'] == 1
    assert found['spotify_processes{kind="beat"}{version="0.1.0"}'] == 0
    assert found['spotify_cooldown{reason="unavailable"}'] == 1
    assert found['spotify_cooldown{reason="rate_limited"}'] == 0
    assert 0 < found["spotify_cooldown_left_seconds"] <= 60
    assert found["spotify_refresh_pace"] == found["spotify_web_api_pace"] == float("inf")
    assert found['spotify_token_reads_total{outcome="fresh"}'] == 1
    assert found['spotify_token_reads_total{outcome="stale"}'] == 2
    assert found['spotify_token_reads_total{outcome="paused"}'] == 1

    text = program.get("/metrics").content.decode()
    assert promtool("check", "metrics", given=text) == ""
    asked = program.get("/metrics", headers={"accept": "application/openmetrics-text"})
    assert asked["Content-Type"].startswith("application/openmetrics-text")
    parsed = openmetrics(asked.content.decode())  # type: ignore[no-untyped-call]
    families = [family.name for family in parsed]
    page = (ROOT / "docs/reference/metrics.md").read_text()
    rows = {line.split("`")[1].split("{")[0] for line in page.splitlines() if line[:3] == "| `"}
    assert {row.removesuffix("_total") for row in rows} == set(families)


def test_figures_are_kept_for_a_moment(
    program: Client, figures_of_this_test: metrics.Figures, settings: Settings
) -> None:
    settings.REFRESH_SWEEP_SECONDS = 15  # the moment is no shorter than it must be
    first = scrape(program)
    Chore.objects.create(name=chores.SWEEP, done_at=Now())

    assert scrape(program) == first
    figures_of_this_test._ask_at = 0.0
    assert scrape(program)["spotify_sweep_age_seconds"] < 60 < first["spotify_sweep_age_seconds"]


def test_answers_without_postgresql_and_without_redis(
    program: Client, settings: Settings, figures_of_this_test: metrics.Figures
) -> None:
    with postgresql_at(free_port()):
        found = scrape(program)
    assert (found['spotify_up{part="postgresql"}'], found['spotify_up{part="redis"}']) == (0, 1)
    assert "spotify_lanes_running" in found
    assert "spotify_tokens_overdue" not in found

    figures_of_this_test._ask_at = 0.0
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    found = scrape(program)
    assert (found['spotify_up{part="postgresql"}'], found['spotify_up{part="redis"}']) == (1, 0)
    assert "spotify_lanes_running" not in found
    assert "spotify_tokens_overdue" in found


def test_does_not_wait_for_a_postgresql_that_hangs(
    program: Client, monkeypatch: pytest.MonkeyPatch, figures_of_this_test: metrics.Figures
) -> None:
    monkeypatch.setattr(metrics, "WAIT_SECONDS", 0.2)
    # The usual one ends sooner than some scrapes on a slow machine.
    monkeypatch.setitem(database.settings_dict["OPTIONS"], "connect_timeout", 60)
    silent = socket.create_server(("127.0.0.1", 0))
    with closing(silent), postgresql_at(silent.getsockname()[1]):
        found = scrape(program)
        asking = figures_of_this_test._asking
        scrape(program)
        asking_threads = [each for each in threading.enumerate() if each.name == "figures"]
        assert asking_threads == [asking]  # it goes on, and no second one waits beside the first
        # Redis has answered: one fault must not look like two.
        wait_for(lambda: scrape(program)['spotify_up{part="redis"}'] == 1, what="Redis")
        assert asking is figures_of_this_test._asking
    assert asking
    asking.join(60)

    assert found['spotify_up{part="postgresql"}'] == 0
    assert found["spotify_lanes_allowed"] == 64


def test_without_redis_reads_are_counted_later(settings: Settings, db: None) -> None:
    there = settings.REDIS_URL
    with redis.Redis.from_url(there) as client:
        client.delete(KEY)
        outcomes.forget()
        settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
        outcomes.count("fresh")
        outcomes.add()
        settings.REDIS_URL = there
        outcomes.count("fresh")
        outcomes.add()

        assert client.hgetall(KEY) == {b"fresh": b"2"}


def test_a_reader_needs_no_thread_to_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    redis_client.client().delete(KEY)
    counted = ReadOutcomes()
    with monkeypatch.context() as patch:
        # What Python says of a limit of the system's, and while the process ends.
        patch.setattr(threading.Thread, "start", _no_thread)
        counted.count("fresh")
    counted.add()

    assert redis_client.client().hget(KEY, "fresh") == b"1"
    counted.count("stale")
    assert counted._adding  # it tries again
    counted.add()


def _no_thread(self: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
