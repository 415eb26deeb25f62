"""The alert rules, played by promtool over made or scraped series."""

import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.core import Metric

from dev.process import ROOT
from spotify_auth.figures import roll_up
from spotify_auth.metrics import Figures, FiguresCollector
from spotify_auth.models import SpotifyToken
from tests.support.promtool import judged, promtool
from tests.support.tokens import ago

RULES = ROOT / "docs/how-to/prometheus/spotify-token-keeper.rules.yml"
STEP_SECONDS = 30
"""Between two values of a series, and between two evaluations of the rules."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """What Prometheus scraped, and which alert is all that it may fire."""

    name: str
    series: Mapping[str, Sequence[float | None]]
    """Values by STEP_SECONDS, from the beginning; None is a scrape without this series."""
    fires: str = ""
    """The alert that must fire at the end. Before, it may; all others never may."""


def alert_rules() -> dict[str, dict[str, Any]]:
    """Each alert by its name."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def play(scenarios: Iterable[Scenario], *, directory: Path) -> None:
    """Fail unless in each of them exactly the expected alert fires."""
    tests = [_test(each) for each in scenarios]
    file = directory / "rules.test.json"  # YAML can be written as JSON
    file.write_text(json.dumps({"rule_files": [str(RULES)], "tests": tests}))
    promtool("test", "rules", file)


def fired(series: Mapping[str, Sequence[float | None]], *, directory: Path) -> list[str]:
    """Which alerts fire at any moment, in the order of their rules."""
    file = directory / "rules.test.json"
    tests = [_test(Scenario(name="", series=series))]
    file.write_text(json.dumps({"rule_files": [str(RULES)], "tests": tests}))
    # promtool names each alert that nobody expected.
    _, said = judged("test", "rules", file)
    found = set(re.findall(r"alertname: (\w+)", said))
    return [alert for alert in alert_rules() if alert in found]


class Scrapes:
    """What the figures said, scrape by scrape, by series. All tokens are due again and again."""

    def __init__(self, *, every_seconds: float) -> None:
        self.series: dict[str, list[float | None]] = {}
        self._every = every_seconds
        self._count = 0

    def take(self, times: int, *, due_since: float, user_ids: Sequence[int] = ()) -> None:
        """Scrape, with the tokens of these users, or of all, due for so many seconds."""
        tokens = SpotifyToken.objects.filter(pk__in=user_ids) if user_ids else SpotifyToken.objects
        for _ in range(times):
            tokens.update(due_at=ago(due_since))
            time.sleep(self._every)
            roll_up.roll_up()  # a worker does it every five seconds
            self._count += 1
            for family in FiguresCollector(Figures()).collect():
                self._note(family)
            for values in self.series.values():
                values += [None] * (self._count - len(values))

    def _note(self, family: Metric) -> None:
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
            values = self.series.setdefault(f"{sample.name}{{{labels}}}", [])
            values += [None] * (self._count - 1 - len(values))
            values.append(sample.value)


def _test(scenario: Scenario) -> dict[str, Any]:
    steps = max(map(len, scenario.series.values())) - 1
    checks: list[dict[str, Any]] = [
        {"eval_time": f"{step * STEP_SECONDS}s", "alertname": alert, "exp_alerts": []}
        for alert in alert_rules()
        if alert != scenario.fires
        for step in range(0, steps + 1)
    ]
    if scenario.fires:
        rule = alert_rules()[scenario.fires]
        expected = {
            "exp_labels": {**rule["labels"], **_labels_of(rule["expr"])},
            "exp_annotations": rule["annotations"],
        }
        checks.append(
            {
                "eval_time": f"{steps * STEP_SECONDS}s",
                "alertname": scenario.fires,
                "exp_alerts": [expected],
            }
        )
    return {
        "name": scenario.name,
        "interval": f"{STEP_SECONDS}s",
        "input_series": [
            {"series": name, "values": " ".join("_" if v is None else f"{v:g}" for v in values)}
            for name, values in scenario.series.items()
        ],
        "alert_rule_test": checks,
    }


def _labels_of(expression: str) -> dict[str, str]:
    """The label that an expression's series keeps: absent's, or which fault it is."""
    if found := re.match(r'(?:absent\(spotify_up|spotify:fault)\{(\w+)="(\w+)"\}', expression):
        return {found[1]: found[2]}
    return {}
