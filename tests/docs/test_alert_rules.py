"""Prometheus's own promtool plays the alert rules: each fault fires its own alert, and no other."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from dev.process import ROOT
from tests.support.alerts import RULES, Scenario, alert_rules, play
from tests.support.promtool import promtool

STEPS, BEGINS = 60, 20
"""Half an hour, with a fault from the tenth minute on."""

Series = dict[str, list[float | None]]


def quiet(steps: int = STEPS) -> Series:
    """A service without a fault, and with what happens in every hour."""

    def always(value: float) -> list[float | None]:
        return [value] * steps

    def now_and_then(value: float) -> list[float | None]:
        return [value if step % 20 == 7 else 0 for step in range(steps)]

    def counter(a_step: float) -> list[float | None]:
        return [a_step * step for step in range(steps)]

    refresh = "spotify_token_refresh_total"
    return {
        'spotify_up{part="postgresql"}': always(1),
        'spotify_up{part="redis"}': always(1),
        "spotify_sweep_interval_seconds": always(10),
        "spotify_sweep_age_seconds": [step * 7 % 12 for step in range(steps)],
        "spotify_service_paused": always(0),
        'spotify_cooldown{reason="rate_limited"}': now_and_then(1),
        'spotify_cooldown{reason="client_refused"}': always(0),
        'spotify_cooldown{reason="unavailable"}': always(0),
        "spotify_mass_refusal": always(0),
        "spotify_refresh_pace": always(30),
        "spotify_refresh_need": always(22),
        f'{refresh}{{outcome="refreshed"}}': counter(20),
        f'{refresh}{{outcome="retry"}}': [float(step // 10) for step in range(steps)],
        f'{refresh}{{outcome="answer_unknown"}}': [float(step // 20) for step in range(steps)],
        f'{refresh}{{outcome="suspected"}}': [float(step // 20) for step in range(steps)],
        f'{refresh}{{outcome="reconnect_required"}}': always(0),
        "spotify_token_oldest_overdue_seconds": [step * 3 % 25 for step in range(steps)],
        "spotify_tokens_stale": now_and_then(2),
        "spotify_tokens_fresh_ratio": always(0.9995),
        "spotify_history_counted_age_seconds": always(6),
        "spotify_freshness_budget_left_seconds": always(500),
        'spotify_processes{kind="worker",version="1"}': always(2),
        'spotify_processes{kind="beat",version="1"}': always(1),
    }


def with_fault(**changes: Sequence[float | None]) -> Series:
    """The same with other series from the fault's beginning on."""
    series = quiet()
    for name, values in changes.items():
        series[name] = [*series[name][:BEGINS], *values]
    return series


def steady(value: float | None) -> list[float | None]:
    return [value] * (STEPS - BEGINS)


def rising(by: float, *, start: float = 0) -> list[float | None]:
    return [start + by * step for step in range(1, STEPS - BEGINS + 1)]


def failing(share: float, outcome: str) -> Mapping[str, Sequence[float | None]]:
    """This share of 20 attempts a step come to `outcome`."""
    refresh = "spotify_token_refresh_total"
    before = quiet()
    other, usual = f'{refresh}{{outcome="{outcome}"}}', f'{refresh}{{outcome="refreshed"}}'
    return {
        other: rising(20 * share, start=before[other][BEGINS - 1] or 0),
        usual: rising(20 * (1 - share), start=before[usual][BEGINS - 1] or 0),
    }


def pauses(reason: str, share: float) -> Mapping[str, Sequence[float | None]]:
    on = [1.0 if step % 10 < 10 * share else 0.0 for step in range(STEPS - BEGINS)]
    return {f'spotify_cooldown{{reason="{reason}"}}': on}


# What lanes cannot do waits, and in the end goes stale.
STALE: Mapping[str, Sequence[float | None]] = {
    "spotify_token_oldest_overdue_seconds": rising(30),
    "spotify_tokens_stale": [0.0] * 20 + [500.0] * (STEPS - BEGINS - 20),
    "spotify_tokens_fresh_ratio": [1.0] * 20 + [0.5] * (STEPS - BEGINS - 20),
}
NO_FIGURES = {
    name: steady(None) for name in quiet() if not name.startswith(("spotify_up", "spotify_sweep_i"))
}
NOT_COUNTED = {
    name: steady(values[BEGINS - 1])
    for name, values in quiet().items()
    if name.startswith("spotify_token_refresh")
}
FROM_REDIS = {
    name: steady(None)
    for name in quiet()
    if name.startswith(("spotify_coold", "spotify_mass", "spotify_refresh_p"))
}

SCENARIOS = [
    Scenario(name="a quiet hour", series=quiet(120)),
    Scenario(
        name="three of four attempts fail, and there are few",
        series=with_fault(
            **{
                'spotify_token_refresh_total{outcome="refreshed"}': rising(0.1, start=380),
                'spotify_token_refresh_total{outcome="retry"}': rising(0.3, start=1),
            }
        ),
    ),
    Scenario(
        name="nothing answers",
        series=with_fault(**{name: steady(None) for name in quiet()}),
        fires="SpotifyKeeperNotScraped",
    ),
    Scenario(
        name="PostgreSQL is away",
        series=with_fault(**NO_FIGURES, **{'spotify_up{part="postgresql"}': steady(0)}),
        fires="SpotifyPostgresqlAway",
    ),
    Scenario(
        name="Redis is away",
        series=with_fault(
            **FROM_REDIS,
            **NOT_COUNTED,
            **STALE,
            **{
                'spotify_up{part="redis"}': steady(0),
                "spotify_sweep_age_seconds": rising(30),
                "spotify_history_counted_age_seconds": rising(30),
            },
        ),
        fires="SpotifyRedisAway",
    ),
    Scenario(
        name="workers and beats are gone",
        series=with_fault(
            **NOT_COUNTED,
            **STALE,
            **{
                "spotify_sweep_age_seconds": rising(30),
                "spotify_history_counted_age_seconds": rising(30),
                'spotify_processes{kind="worker",version="1"}': steady(0),
                'spotify_processes{kind="beat",version="1"}': steady(0),
            },
        ),
        fires="SpotifyRenewalStopped",
    ),
    Scenario(
        name="an operator pauses",
        series=with_fault(**NOT_COUNTED, **STALE, spotify_service_paused=steady(1)),
        fires="SpotifyRefreshingPaused",
    ),
    Scenario(
        name="the client secret is wrong",
        series=with_fault(**failing(1, "retry"), **pauses("client_refused", 1), **STALE),
        fires="SpotifyClientRefused",
    ),
    *(
        Scenario(
            name=f"{share:.0%} are refused",
            series=with_fault(**failing(share, "suspected"), spotify_mass_refusal=steady(1)),
            fires="SpotifyMassRefusal",
        )
        for share in (0.1, 0.5, 0.9, 1.0)
    ),
    *(
        Scenario(
            name=f"{share:.0%} of the time is a pause after 429",
            series=with_fault(**failing(share, "retry"), **pauses("rate_limited", share), **STALE),
            fires="SpotifyRateLimited",
        )
        for share in (0.5, 0.9, 1.0)
    ),
    Scenario(
        name="Spotify allows less than is needed",
        series=with_fault(**STALE, **pauses("rate_limited", 0.1), spotify_refresh_pace=steady(20)),
        fires="SpotifyPaceBelowNeed",
    ),
    Scenario(
        name="it would, but no token waits",
        series=with_fault(spotify_refresh_pace=steady(20)),
    ),
    *(
        Scenario(
            name=f"{share:.0%} come to {outcome}",
            series=with_fault(**failing(share, outcome), **STALE),
            fires="SpotifyExchangesFail",
        )
        for share in (0.1, 0.5, 0.9)
        for outcome in ("retry", "answer_unknown")
    ),
    Scenario(
        name="nobody is answered",
        series=with_fault(**failing(1, "retry"), **pauses("unavailable", 1), **STALE),
        fires="SpotifyExchangesFail",
    ),
    Scenario(
        name="the lanes are too few",
        series=with_fault(spotify_token_oldest_overdue_seconds=rising(30)),
        fires="SpotifyBacklog",
    ),
    Scenario(
        name="no rule knows why",
        series=with_fault(spotify_tokens_stale=steady(50), spotify_tokens_fresh_ratio=steady(0.99)),
        fires="SpotifyTokensStale",
    ),
    Scenario(
        name="beat is gone",
        series=with_fault(**{'spotify_processes{kind="beat",version="1"}': steady(0)}),
        fires="SpotifyNoBeat",
    ),
    Scenario(
        name="the history is not counted",
        series=with_fault(**NOT_COUNTED, spotify_history_counted_age_seconds=rising(30)),
        fires="SpotifyCountingStopped",
    ),
    Scenario(
        name="the week's allowance is used up",
        series=with_fault(spotify_freshness_budget_left_seconds=steady(-1)),
        fires="SpotifyObjectiveMissed",
    ),
]


def test_each_fault_fires_its_own_alert_and_a_quiet_hour_none(tmp_path: Path) -> None:
    play(SCENARIOS, directory=tmp_path)

    assert {each.fires for each in SCENARIOS} == {"", *alert_rules()}


def test_a_wrong_expectation_is_seen(tmp_path: Path) -> None:
    """So the test above can fail: for an alert too many, and for one too few."""
    beat = next(each for each in SCENARIOS if each.name == "beat is gone")
    for wrong in (
        Scenario(name="", series=beat.series),
        Scenario(name="", series=quiet(), fires="SpotifyNoBeat"),
    ):
        with pytest.raises(AssertionError, match="SpotifyNoBeat"):
            play([wrong], directory=tmp_path)


def test_rules_and_dashboard_know_real_metrics(tmp_path: Path) -> None:
    known = set(re.findall(r"`(spotify_\w+)", (ROOT / "docs/reference/metrics.md").read_text()))
    known |= {f"spotify_token_refresh_seconds_{part}" for part in ("bucket", "count", "sum")}
    dashboard = RULES.with_name("spotify-token-keeper.dashboard.json")
    panels = json.loads(dashboard.read_text())["panels"]
    shown = [target["expr"] for panel in panels for target in panel["targets"]]
    asked = "\n".join([*shown, re.sub(r"#.*|- record:.*|name:.*", "", RULES.read_text())])
    as_rules = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(shown)]
    file = tmp_path / "dashboard.rules.json"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": as_rules}]}))
    promtool("check", "rules", RULES, file)

    used = set(re.findall(r"\bspotify_\w+", asked))

    assert len(used) > 20
    assert used <= known


def test_every_alert_is_explained() -> None:
    page = (ROOT / "docs/how-to/monitor.md").read_text()

    assert re.findall(r"^### (\w+)", page, re.MULTILINE) == list(alert_rules())
    for name, rule in alert_rules().items():
        assert rule["annotations"]["runbook"] == f"docs/how-to/monitor.md#{name.lower()}"
