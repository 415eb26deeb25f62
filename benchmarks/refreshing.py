"""Refreshes a second and the CPU of each, by real workers, beside bare calls.

The token endpoint takes 200 ms, but for one lane alone: there it answers at once, so that the
CPU of a refresh is seen without that of threads which wait for each other; and there no
refresh writes its line into the log. The CPU is the worker's, not PostgreSQL's. A turn measures the
bare calls, in processes of their own, and then the workers, both after a warm-up: a lane's first
claim connects to PostgreSQL, which costs milliseconds and is no part of a refresh.

The floor of the rates is a lean session (`benchmarks.baseline`). That of the CPU is
`session.post` as requests comes; the lean one stands beside it.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.baseline import bare_calls
from benchmarks.bulk_users import connect_people, make_all_due, make_none_due
from benchmarks.charts import Chart
from benchmarks.measurement import Row, micro, per_second
from benchmarks.meters import Window, watch
from benchmarks.service import (
    LATENCY_SECONDS,
    let_spotify_take_its_time,
    refreshes,
    sweep,
    wait_until_idle,
    workers,
)
from spotify_auth.models import SpotifyToken
from tests.support.processes import LocalProcess
from tests.support.sandbox_client import Sandbox

TITLE = "Refreshing"
WARM_UP_SECONDS = 1.5
WINDOW_SECONDS = 3.5
MOST = 2.0
"""Times the CPU of a bare call."""
PEOPLE = 9000
"""More than are refreshed in a turn."""
BARE = [f"user-{PEOPLE + n}" for n in range(256)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Turns:
    """Results of one number of lanes, in turns with as many threads of bare calls."""

    lanes: int
    processes: int
    plain: Sequence[Window]
    """Empty, unless the CPU is asked for."""
    lean: Sequence[Window]
    ours: Sequence[Window]

    @property
    def rates(self) -> tuple[float, float]:
        """Medians: lean calls a second, refreshes a second."""
        return (
            statistics.median(window.rate for window in self.lean),
            statistics.median(window.rate for window in self.ours),
        )

    @property
    def cpu(self) -> tuple[float, float, float]:
        """Medians: CPU seconds of a plain call, of a lean one and of a refresh."""
        return (
            statistics.median(window.cpu_each for window in self.plain),
            statistics.median(window.cpu_each for window in self.lean),
            statistics.median(window.cpu_each for window in self.ours),
        )

    @property
    def name(self) -> str:
        """For the table."""
        processes = "one worker" if self.processes == 1 else f"{self.processes} workers"
        return f"{processes}, {self.lanes} lane{'' if self.lanes == 1 else 's'}"


def run(*, long: bool) -> list[Row]:
    """Throughput below a full core and at it, and the CPU of a refresh."""
    with Sandbox(access_token_lifetime=3600) as sandbox:
        sandbox.faults("no_rotation", users=BARE)
        bare_tokens = [answer["refresh_token"] for answer in sandbox.connect(BARE).values()]
        connect_people(sandbox, PEOPLE)
        let_spotify_take_its_time(sandbox)
        measure = partial(_turns, sandbox, bare_tokens)
        few = measure(lanes=32, turns=1)
        usual = measure(lanes=64, turns=3, plain=True)
        many = measure(lanes=128, turns=3)
        two = measure(lanes=200, processes=2, turns=3)
        # Last: lanes are opened by the latency of the latest exchanges.
        sandbox.clear()
        sandbox.faults("no_rotation", users=BARE)
        alone = measure(lanes=1, turns=5, plain=True, LOG_LEVEL="WARNING")
        reuses = sandbox.summary()["totals"]["reuses_of_dead_token"]
    SpotifyToken.objects.all().delete()
    return [
        _waiting(few),
        _waiting(usual),
        _full(many, wanted=400),
        _full(two, wanted=600, chart=_chart([few, usual, many, two])),
        _cpu(alone, what="without its line in the log, endpoint at 0 ms"),
        _cpu(usual, what="with its line in the log"),
        Row(
            what="dead refresh tokens presented meanwhile",
            target="0",
            figure=str(reuses),
            met=reuses == 0,
        ),
    ]


def _turns(
    sandbox: Sandbox,
    bare_tokens: Sequence[str],
    *,
    lanes: int,
    turns: int,
    processes: int = 1,
    plain: bool = False,
    **settings: str,
) -> Turns:
    bare = partial(
        bare_calls,
        sandbox.url,
        bare_tokens[:lanes],
        warm_up=WARM_UP_SECONDS,
        seconds=WINDOW_SECONDS,
        processes=processes,
    )
    plain_windows, lean, ours = [], [], []
    with workers(sandbox, lanes=lanes, processes=processes, **settings) as running:
        for _ in range(turns):
            if plain:
                plain_windows.append(bare(session="plain"))
            lean.append(bare(session="lean"))
            ours.append(refreshing(sandbox, running))
    return Turns(lanes=lanes, processes=processes, plain=plain_windows, lean=lean, ours=ours)


def refreshing(sandbox: Sandbox, running: Sequence[LocalProcess]) -> Window:
    """Let all tokens be due, and watch workers refresh them in steady state."""
    make_all_due()
    sweep()
    before = refreshes(sandbox)
    watch(running, lambda: 0, seconds=WARM_UP_SECONDS)
    window = watch(running, lambda: refreshes(sandbox), seconds=WINDOW_SECONDS)
    done = refreshes(sandbox) - before
    make_none_due()
    wait_until_idle(sandbox)
    if done >= SpotifyToken.objects.count():
        raise RuntimeError("everything was refreshed before the window had ended")
    return window


def _waiting(turns: Turns) -> Row:
    """Below a full core, lanes do nothing but wait for the endpoint."""
    bare, ours = turns.rates
    ideal = turns.lanes / LATENCY_SECONDS
    return Row(
        what=f"refreshes, {turns.name}",
        target=f"{per_second(0.9 * ideal)}: 90 % of lanes / latency",
        figure=f"{per_second(ours)}: {ours / ideal:.0%}",
        floor=f"{per_second(bare)} bare and lean, same threads",
        met=ours >= 0.9 * ideal,
    )


def _full(turns: Turns, *, wanted: float, chart: Chart | None = None) -> Row:
    bare, ours = turns.rates
    met = ours >= wanted
    return Row(
        what=f"refreshes, {turns.name}",
        target=f"{per_second(wanted)}, where the floor allows",
        figure=per_second(ours),
        floor=f"{per_second(bare)} bare and lean, same threads and processes",
        # The yardstick is bare requests.post: where that cannot reach the figure, a
        # refresh cannot be expected to either.
        met=True if met else (False if bare >= wanted else None),
        chart=chart,
    )


def _cpu(turns: Turns, *, what: str) -> Row:
    plain, lean, ours = turns.cpu
    return Row(
        what=f"a refresh, worker's CPU, {what}: {turns.name}",
        target=f"at most {MOST} x bare",
        figure=f"{micro(ours)}: {ours / plain:.2f} x ({ours / lean:.2f} x the lean call)",
        floor=f"{micro(plain)} bare session.post ({micro(lean)} lean: without proxies and .netrc)",
        met=ours / plain <= MOST,
    )


def _chart(all_turns: Sequence[Turns]) -> Chart:
    return Chart(
        name="refreshing",
        title="Refreshes a second, token endpoint with 200 ms latency",
        unit="per second",
        labels=[turns.name for turns in all_turns],
        series={
            "bare session.post, lean": [turns.rates[0] for turns in all_turns],
            "refreshes, claim to commit": [turns.rates[1] for turns in all_turns],
        },
    )
