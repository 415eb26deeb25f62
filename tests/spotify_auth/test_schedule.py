"""Pure functions: when a token is due, how long to back off."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_auth import schedule
from spotify_auth.schedule import EXCHANGE_SECONDS

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


@given(fraction=st.floats(0, 1), suspected_for=st.floats(0, 10**6))
def test_a_refused_token_is_asked_for_every_few_minutes_and_then_less_often(
    fraction: float, suspected_for: float
) -> None:
    seconds = schedule.ask_again_after(
        3600, suspected_for=suspected_for, waited=10, fraction=fraction
    )

    assert 225 <= seconds <= 2250  # five minutes to half an hour, and a quarter more or less
    assert seconds >= min(1800, suspected_for / 2) * 0.75


@pytest.mark.parametrize(
    ("waited", "expected"),
    [
        (10, 300),  # a sweep
        (120, 300),
        (121, 1800),  # the lanes are behind
    ],
)
def test_a_refused_token_steps_back_while_the_lanes_are_behind(
    waited: float, expected: float
) -> None:
    seconds = schedule.ask_again_after(3600, suspected_for=0, waited=waited, fraction=0.5)

    assert seconds == expected


def test_a_verdict_is_appealed_after_one_six_and_twenty_four_hours() -> None:
    waits = [schedule.appeal_after(appeals) for appeals in range(4)]

    assert waits == [3600, 5 * 3600, 18 * 3600, None]


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
    sweep=st.floats(0.01, 60),
    limit=st.integers(1, 500),
)
def test_lanes_are_enough_and_never_too_many(due: int, sweep: float, limit: int) -> None:
    lanes = schedule.lanes_needed(due, sweep=sweep, limit=limit)

    assert 1 <= lanes <= min(due, limit)
    # Enough to be done within half a sweep, unless a limit stands in the way.
    assert lanes == min(due, limit) or due * EXCHANGE_SECONDS <= lanes * sweep / 2 * 1.000001
    # And not one lane more than that.
    assert lanes == 1 or due * EXCHANGE_SECONDS > (lanes - 1) * sweep / 2 * 0.999999


def test_few_tokens_need_few_lanes() -> None:
    needed = [schedule.lanes_needed(due, sweep=10, limit=64) for due in (1, 5, 37, 3700)]

    assert needed == [1, 1, 8, 64]


@given(limit=st.integers(1, 500), sweep=st.floats(0.01, 60), more=st.integers(0, 10**6))
def test_tokens_beyond_those_that_are_counted_open_no_further_lane(
    limit: int, sweep: float, more: int
) -> None:
    counted = schedule.due_for_all_lanes(limit, sweep=sweep)

    assert schedule.lanes_needed(counted, sweep=sweep, limit=limit) == limit
    assert schedule.lanes_needed(counted + more, sweep=sweep, limit=limit) == limit
