"""Pure functions: when a token is due, how long to back off."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_auth import schedule

fractions = st.floats(0, 1, exclude_max=True)
PRODUCTION = {"lifetime": 3600, "sweep": 10, "deadline": 12, "minimum": 10}
SANDBOX = {"lifetime": 120, "sweep": 2, "deadline": 8, "minimum": 10}


@given(lifetime=st.floats(1, 86_400), fraction=fractions)
def test_a_token_is_due_between_70_and_80_percent_of_its_life(
    lifetime: float, fraction: float
) -> None:
    due = schedule.refresh_after(lifetime, fraction=fraction)

    assert lifetime * 0.6999 <= due <= lifetime * 0.8001


@given(fraction=fractions)
def test_after_an_expired_one_it_is_due_between_30_and_80_percent(fraction: float) -> None:
    assert 0.2999 <= schedule.refresh_after(1, fraction=fraction, late=True) <= 0.8001


@given(failures=st.integers(1, 10_000), fraction=fractions)
def test_back_off_is_bounded(failures: int, fraction: float) -> None:
    assert 0 <= schedule.back_off(failures, fraction=fraction) <= schedule.BACK_OFF_LIMIT_SECONDS


@pytest.mark.parametrize(
    ("failures", "longest"),
    [
        (1, 2),  # the base
        (2, 4),  # doubles
        (8, 256),
        (9, 300),  # the limit
    ],
)
def test_back_off_doubles_up_to_its_limit(failures: int, longest: float) -> None:
    assert schedule.back_off(failures, fraction=1.0) == longest
    assert schedule.back_off(failures, fraction=0.0) == 0


@pytest.mark.parametrize(
    ("lifetime", "seconds"),
    [
        (3600, 60),  # Spotify's tokens: a minute
        (120, 12),  # the sandbox's: a tenth of their life
    ],
)
def test_confirmation_comes_while_the_access_token_still_lives(
    lifetime: float, seconds: float
) -> None:
    assert schedule.confirm_after(lifetime) == seconds
    assert seconds < schedule.smallest_margin(lifetime)


@pytest.mark.parametrize("values", [PRODUCTION, SANDBOX])
def test_the_defaults_leave_slack(values: dict[str, float]) -> None:
    assert schedule.slack_problems(**values) == []


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"lifetime": 60}, "ACCESS_TOKEN_LIFETIME_SECONDS"),  # margin 12 s, needed 22 s
        ({"sweep": 4}, "REFRESH_SWEEP_SECONDS"),  # two sweeps missed: already late
        ({"deadline": 10}, "TOKEN_ENDPOINT_DEADLINE_SECONDS"),  # a lost answer costs too much
        ({"minimum": 60}, "ACCESS_TOKEN_MINIMUM_SECONDS"),  # readers would meet stale tokens
    ],
)
def test_settings_without_slack_are_named(changed: dict[str, float], named: str) -> None:
    problems = schedule.slack_problems(**{**SANDBOX, **changed})

    assert any(named in problem for problem in problems)


@given(
    due=st.integers(1, 10**6),
    latency=st.floats(0, 60),
    sweep=st.floats(0.01, 60),
    limit=st.integers(1, 500),
)
def test_lanes_are_enough_and_never_too_many(
    due: int, latency: float, sweep: float, limit: int
) -> None:
    lanes = schedule.lanes_needed(due, latency=latency, sweep=sweep, limit=limit)

    assert 1 <= lanes <= min(due, limit)
    # Enough to be done within half a sweep, unless a limit stands in the way.
    assert lanes == min(due, limit) or due * latency <= lanes * sweep / 2 * 1.000001
    # And not one lane more than that.
    assert lanes == 1 or due * latency > (lanes - 1) * sweep / 2 * 0.999999


def test_a_fast_endpoint_needs_few_lanes_and_a_slow_one_many() -> None:
    needed = [
        schedule.lanes_needed(3330, latency=latency, sweep=10, limit=64)
        for latency in (0.005, 0.05, 0.2, 2)
    ]

    assert needed == [4, 34, 64, 64]
