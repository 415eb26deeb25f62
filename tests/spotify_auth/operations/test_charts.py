"""Counts become bars: each in its place, as high as it is large, and told in words."""

from datetime import UTC, datetime, timedelta

from spotify_auth.figures.counts import Count
from spotify_auth.operations.charts import HEIGHT, Chart, chart

NOW = datetime(2026, 11, 26, 12, 0, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def count(minutes_ago: int, events: int, outcome: str = "refreshed") -> Count:
    begins_at = NOW.replace(second=0) - minutes_ago * MINUTE
    return Count(begins_at=begins_at, outcome=outcome, events=events, rotated=0)


def drawn(*counts: Count) -> Chart:
    return chart(counts, name="minute", title="Refreshes", step=MINUTE, bars=4, now=NOW)


def test_a_bar_for_each_minute_the_failures_on_top() -> None:
    found = drawn(count(3, 100), count(1, 30), count(1, 20, "retry"), count(1, 50, "suspected"))

    assert [(bar.refreshed, bar.failed) for bar in found.bars] == [
        (100, 0),
        (0, 0),
        (30, 70),
        (0, 0),
    ]
    third = found.bars[2]
    assert (third.x, third.width) == ("52.50%", "20.00%")
    assert float(third.failed_top) == 0
    assert float(third.refreshed_height) == round(HEIGHT * 0.3, 1)
    assert [bar.present for bar in found.bars] == [False, False, False, True]
    assert found.summary == (
        "130 refreshed and 70 failed attempts in the last 4 minutes; at most 100 refreshed in a "
        "minute, at 11:57 UTC; nothing in 2 of them."
    )


def test_one_failure_among_thousands_is_seen() -> None:
    bar = drawn(count(1, 5000), count(1, 1, "retry")).bars[2]

    assert float(bar.failed_height) >= 2
    assert float(bar.failed_top) >= 0
    assert float(bar.refreshed_top) + float(bar.refreshed_height) == HEIGHT


def test_what_people_did_is_no_refresh() -> None:
    found = drawn(count(1, 5, "connected"), count(2, 5, "disconnected"))

    assert found.summary == "Nothing was refreshed in the last 4 minutes."
