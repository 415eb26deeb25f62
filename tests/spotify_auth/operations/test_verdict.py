"""What the page says first: whether somebody loses access, since when, and why."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dev.process import ROOT
from spotify_auth.cooldown import Reason
from spotify_auth.figures.counts import Latency
from spotify_auth.figures.samples import Budget
from spotify_auth.figures.summary import Summary
from spotify_auth.figures.traffic import Traffic
from spotify_auth.freshness import Freshness
from spotify_auth.operations import figures
from spotify_auth.operations.looking import Looked
from spotify_auth.operations.verdict import GUIDE, causes_of, verdict
from spotify_auth.service_pause import Paused

NOW = datetime(2026, 11, 26, 12, 0, 30, tzinfo=UTC)
FRESH = Freshness(
    connected=1204,
    stale=0,
    refused=0,
    overdue=3,
    oldest_overdue=2.0,
    suspected=0,
    backing_off=0,
    expiring=0,
    worst_left=700.0,
    worst_refused_left=None,
)
TRAFFIC = Traffic(
    lanes=3,
    cooldown="",
    cooldown_left=0.0,
    mass_refusal=False,
    pace=float("inf"),
    pace_is_felt=False,
    web_api_pace=float("inf"),
    reads={},
)
SUMMARY = Summary(
    freshness=FRESH,
    by_status={},
    budget=Budget(allowed=10.0, used=1.0, since=NOW),
    sweep_age=4.0,
    totals={},
    counted_age=3.0,
    traffic=TRAFFIC,
)
LOOK = Looked(
    now=NOW,
    summary=SUMMARY,
    paused=None,
    processes=[],
    minutes=[],
    hours=[],
    latency=Latency(median=None, p95=None, p99=None),
    errors=[],
)
PAUSED = Paused(since=NOW - timedelta(minutes=3), by="ana", reason="ticket 17")


def looked(
    *,
    fresh: dict[str, Any] | None = None,
    traffic: dict[str, Any] | None = None,
    errors: Sequence[tuple[str, int]] = (),
    paused: Paused | None = None,
    redis_is_away: bool = False,
    **summary: Any,
) -> Looked:
    """A quiet service, but for this."""
    return replace(
        LOOK,
        summary=replace(
            SUMMARY,
            freshness=replace(FRESH, **(fresh or {})),
            traffic=None if redis_is_away else replace(TRAFFIC, **(traffic or {})),
            **summary,
        ),
        errors=errors,
        paused=paused,
    )


STALE = {"stale": 37, "worst_left": -20.0}


@pytest.mark.parametrize(
    ("look", "tone", "headline"),
    [
        (looked(), "good", "All 1,204 connected users have fresh tokens."),
        (looked(fresh={"connected": 1}), "good", "The one connected user has a fresh token."),
        (
            looked(fresh={"connected": 0, "worst_left": None}),
            "good",
            "Nobody is connected, so there is nothing to refresh.",
        ),
        # Sleeping tokens are let expire on purpose.
        (
            looked(by_status={"sleeping": 204}),
            "good",
            "All 1,000 connected users have fresh tokens.",
        ),
        # Stale since it had less than 10 s left.
        (
            looked(fresh=STALE, sweep_age=900.0),
            "bad",
            "37 users have no fresh token, since 12:00 UTC, because nothing looks for due tokens: "
            "the last sweep was at 11:45 UTC.",
        ),
        (
            looked(fresh={"stale": 1, "worst_left": -7200.0}, traffic={"cooldown": "unavailable"}),
            "bad",
            "1 user has no fresh token, since 10:00 UTC, because Spotify does not answer: all "
            "refreshing pauses.",
        ),
        (looked(fresh=STALE), "bad", "37 users have no fresh token, since 12:00 UTC."),
        (
            looked(fresh=STALE | {"backing_off": 40}, errors=[("http_503", 30)]),
            "bad",
            "37 users have no fresh token, since 12:00 UTC, because the last attempt failed for 40 "
            "users, mostly with http_503 (30).",
        ),
        # Refused ones are told apart: it is no fault of ours, and nothing to be woken for.
        (
            looked(fresh={"stale": 5, "refused": 5, "suspected": 5, "worst_refused_left": -3600.0}),
            "wait",
            "5 users have no fresh token, since 11:00 UTC, because Spotify refused it; all others "
            "have one.",
        ),
        (
            looked(fresh={"expiring": 12, "overdue": 12, "oldest_overdue": 90.0}),
            "bad",
            "12 users lose access within 15 minutes, the first in 11 min, because 12 tokens wait "
            "for a worker, the oldest for 90 s.",
        ),
        (
            looked(paused=PAUSED),
            "bad",
            "The first user loses access in 11 min, because ana paused all refreshing at 11:57 UTC "
            "(ticket 17).",
        ),
        (
            looked(paused=PAUSED, fresh={"worst_left": 1800.0}),
            "wait",
            "Nobody has lost access yet, but no token is refreshed, because ana paused all "
            "refreshing at 11:57 UTC (ticket 17).",
        ),
        (
            looked(redis_is_away=True),
            "wait",
            "All connected users have fresh tokens, but Redis does not answer: no new lanes "
            "are opened.",
        ),
    ],
)
def test_the_headline(look: Looked, tone: str, headline: str) -> None:
    said = verdict(look)

    assert (said.tone, said.headline) == (tone, headline)


BEHIND = {"overdue": 500, "oldest_overdue": 800.0, "backing_off": 3}


def test_the_cause_that_hides_the_others_comes_first() -> None:
    look = looked(
        paused=PAUSED,
        sweep_age=900.0,
        traffic={"cooldown": "client_refused", "cooldown_left": 40.0, "mass_refusal": True},
        fresh=BEHIND,
        errors=[("http_503", 3)],
    )

    assert [cause.code for cause in causes_of(look)] == [
        *("paused", "not_running", "client_refused", "mass_refusal"),
    ]


@pytest.mark.parametrize(
    ("state", "causes"),
    [
        ({}, ["backlog", "failing"]),
        ({"traffic": {"mass_refusal": True}}, ["mass_refusal", "backlog", "failing"]),
        # More workers would help as little as waiting for another try.
        ({"redis_is_away": True}, ["no_redis"]),
        ({"traffic": {"cooldown": "rate_limited"}}, ["rate_limited"]),
    ],
)
def test_what_follows_from_another_cause_is_none(state: dict[str, Any], causes: list[str]) -> None:
    look = looked(**state, fresh=BEHIND, errors=[("http_503", 3)])

    assert [cause.code for cause in causes_of(look)] == causes


@pytest.mark.parametrize("reason", Reason)
def test_every_cool_down_is_explained(reason: Reason) -> None:
    (cause,) = causes_of(looked(traffic={"cooldown": reason.value, "cooldown_left": 40.0}))

    assert cause.because.endswith("all refreshing pauses, for another 40 s")
    assert cause.do


def test_every_cause_has_its_section_in_the_guide() -> None:
    sections = [
        line.removeprefix("### ").strip().lower().replace(" ", "-")
        for line in (ROOT / GUIDE).read_text().splitlines()
        if line.startswith("### ")
    ]
    everything = [
        looked(paused=PAUSED, sweep_age=None, redis_is_away=True),
        looked(traffic={"mass_refusal": True}, fresh={"oldest_overdue": 99.0, "backing_off": 1}),
        looked(fresh={"backing_off": 1}, errors=[("http_503", 1)]),
        looked(fresh={"connected": 9}, traffic={"pace": 0.0, "pace_is_felt": True}),
        *(looked(traffic={"cooldown": reason.value}) for reason in Reason),
    ]
    guides = {cause.guide for look in everything for cause in causes_of(look)}

    assert guides == {f"{GUIDE}#{section}" for section in sections}


def test_a_lost_redis_is_unknown_and_not_zero() -> None:
    values = {figure.code: figure.value for figure in figures.work(looked(redis_is_away=True))}

    assert [values[code] for code in ("lanes", "pace", "web-api-pace")] == ["unknown"] * 3


def test_a_pace_below_the_need_says_by_how_much() -> None:
    look = looked(
        fresh={"connected": 27_000, "overdue": 900}, traffic={"pace": 8.0, "pace_is_felt": True}
    )

    told = verdict(look)

    assert [cause.code for cause in told.causes] == ["pace_below_need"]
    assert "Spotify allows 8.0 refreshes a second, and 27,000 users need 10.0" in told.headline
    pace = next(figure for figure in figures.work(look) if figure.code == "pace")
    assert (pace.value, pace.tone) == ("8.0", "bad")


@pytest.mark.parametrize(("pace", "value"), [(float("inf"), "any"), (2.04, "2.0")])
def test_the_pace_of_the_pages_stands_beside_that_of_refreshing(pace: float, value: str) -> None:
    shown = figures.work(looked(traffic={"web_api_pace": pace}))

    at = [figure.code for figure in shown].index("pace")
    assert (shown[at + 1].code, shown[at + 1].value) == ("web-api-pace", value)


@pytest.mark.parametrize("traffic", [{"pace": 8.0}, {"pace": 11.0, "pace_is_felt": True}])
def test_a_pace_that_nobody_waits_for_or_that_is_enough_is_no_cause(
    traffic: dict[str, Any],
) -> None:
    assert not verdict(looked(fresh={"connected": 27_000}, traffic=traffic)).causes
