"""Refreshes a second and the CPU of each, by real workers, beside bare calls.

The token endpoint takes 200 ms, give or take half of it: so lanes / 200 ms is the ceiling. A turn
measures the bare calls, in processes of their own and with as many threads, and then the workers,
both after a warm-up: a lane's first claim connects to PostgreSQL, which costs milliseconds and is
no part of a refresh. Everything shares the cores of one machine, so the bare calls tell what these
can carry: they cost neither PostgreSQL nor Redis anything. With 64 lanes the endpoint is asked
over TLS, as Spotify is.

The floor of the rates is a lean session (`benchmarks.baseline`). That of the CPU is
`session.post` as requests comes; the lean one stands beside it.
"""

import re
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.baseline import bare_calls
from benchmarks.bulk_users import connect_people, make_all_due, make_none_due
from benchmarks.charts import Chart
from benchmarks.measurement import Row, micro, per_second
from benchmarks.meters import Window, postgresql, redis_server, watch
from benchmarks.service import (
    LATENCY_SECONDS,
    let_spotify_take_its_time,
    refreshes,
    sweep,
    wait_until_idle,
    workers,
)
from dev.process import ROOT
from spotify_auth.models import SpotifyToken
from tests.support.processes import LocalProcess
from tests.support.sandbox_client import Sandbox
from tests.support.servers import Authority

TITLE = "Refreshing"
WARM_UP_SECONDS = 1.2
WINDOW_SECONDS = 2.5
TURNS = 2
SHARE = 0.97
"""Of the ceiling."""
MOST_CPU = 900e-6
"""Seconds of worker, PostgreSQL and Redis together."""
MOST_OF_ONE = 0.52
"""Of the refreshes of two workers."""
PEOPLE = 8000
"""More than are refreshed in a turn."""
BARE = [f"user-{PEOPLE + n}" for n in range(256)]

_REFRESHED = re.compile(r"\brefreshed user_id=")
_SERVERS = {"PostgreSQL": postgresql, "Redis": redis_server}


@dataclass(frozen=True, kw_only=True, slots=True)
class Turns:
    """Results of one number of lanes, in turns with as many threads of bare calls."""

    lanes: int
    processes: int
    over_tls: bool
    plain: Sequence[Window]
    """Empty, unless the CPU is asked for."""
    lean: Sequence[Window]
    ours: Sequence[Window]
    by_worker: Sequence[int]
    """How many refreshes each worker has logged."""

    @property
    def ceiling(self) -> float:
        """Refreshes a second, if lanes did nothing but wait for the endpoint."""
        return self.lanes / LATENCY_SECONDS

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

    def cpu_of(self, server: str) -> float:
        """Median: CPU seconds that a refresh costs this server."""
        return statistics.median(window.others[server] / window.done for window in self.ours)

    @property
    def name(self) -> str:
        """For the table."""
        processes = "one worker" if self.processes == 1 else f"{self.processes} workers"
        return f"{processes}, {self.lanes} lanes{', over TLS' if self.over_tls else ''}"


def run(*, long: bool) -> list[Row]:
    """Throughput of one worker and of two, and the CPU of a refresh."""
    with ExitStack() as stack:
        authority = Authority(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        sandbox = stack.enter_context(
            Sandbox(access_token_lifetime=3600, certificate=authority.certify())
        )
        sandbox.faults("no_rotation", users=BARE)
        bare_tokens = [answer["refresh_token"] for answer in sandbox.connect(BARE).values()]
        connect_people(sandbox, PEOPLE)
        let_spotify_take_its_time(sandbox)
        measure = partial(_turns, sandbox, bare_tokens, turns=TURNS * (3 if long else 1))
        usual = measure(lanes=64, plain=True, authority=authority.file)
        many = measure(lanes=128)
        two = measure(lanes=128, processes=2)
        two_full = measure(lanes=256, processes=2)
        reuses = sandbox.summary()["totals"]["reuses_of_dead_token"]
    SpotifyToken.objects.all().delete()
    all_turns = [usual, many, two, two_full]
    return [
        *map(_rate, all_turns[:-1]),
        _rate(two_full, chart=_chart(all_turns)),
        _evenness(two),
        _cpu_together(usual),
        _cpu(usual),
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
    authority: Path | None = None,
    **settings: str,
) -> Turns:
    """`authority` has signed the sandbox's certificate: ask over TLS."""
    if authority:
        settings |= {
            "SPOTIFY_ACCOUNTS_URL": sandbox.tls_url,
            "BENCHMARK_AUTHORITY": str(authority),
            "PYTHONPATH": str(ROOT / "benchmarks/tls_site"),
        }
    bare = partial(
        bare_calls,
        sandbox.tls_url if authority else sandbox.url,
        bare_tokens[:lanes],
        authority=authority,
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
        by_worker = [len(_REFRESHED.findall(worker.logs())) for worker in running]
    return Turns(
        lanes=lanes,
        processes=processes,
        over_tls=bool(authority),
        plain=plain_windows,
        lean=lean,
        ours=ours,
        by_worker=by_worker,
    )


def refreshing(sandbox: Sandbox, running: Sequence[LocalProcess]) -> Window:
    """Let all tokens be due, and watch workers refresh them in steady state."""
    make_all_due()
    sweep()
    before = refreshes(sandbox)
    watch(running, lambda: 0, seconds=WARM_UP_SECONDS)
    window = watch(running, lambda: refreshes(sandbox), seconds=WINDOW_SECONDS, others=_SERVERS)
    done = refreshes(sandbox) - before
    make_none_due()
    wait_until_idle(sandbox)
    if done >= SpotifyToken.objects.count():
        raise RuntimeError("everything was refreshed before the window had ended")
    return window


def _rate(turns: Turns, *, chart: Chart | None = None) -> Row:
    bare, ours = turns.rates
    floor, share = bare / turns.ceiling, ours / turns.ceiling
    return Row(
        what=f"refreshes, {turns.name}",
        target=f"{SHARE:.0%} of the ceiling, which is {per_second(turns.ceiling)}",
        figure=f"{per_second(ours)}: {share:.1%}",
        floor=f"{per_second(bare)}: {floor:.1%}, bare and lean, same threads and processes",
        # Where bare calls do not come so far, this machine is too small.
        met=True if share >= SHARE else (False if floor >= SHARE else None),
        chart=chart,
    )


def _evenness(turns: Turns) -> Row:
    most, total = max(turns.by_worker), sum(turns.by_worker)
    return Row(
        what=f"share of the busier process, {turns.name}",
        target=f"at most {MOST_OF_ONE:.0%}",
        figure=f"{most / total:.1%}: {' and '.join(f'{n:,}' for n in turns.by_worker)} refreshes",
        floor=f"{1 / turns.processes:.0%}",
        met=most / total <= MOST_OF_ONE,
    )


def _cpu_together(turns: Turns) -> Row:
    worker = turns.cpu[2]
    servers = {name: turns.cpu_of(name) for name in _SERVERS}
    together = worker + sum(servers.values())
    each = ", ".join(f"{name} {micro(seconds)}" for name, seconds in servers.items())
    return Row(
        what=f"a refresh, CPU of worker, PostgreSQL and Redis: {turns.name}",
        target=f"at most {micro(MOST_CPU)}",
        figure=f"{micro(together)}: worker {micro(worker)}, {each}",
        met=together <= MOST_CPU,
    )


def _cpu(turns: Turns) -> Row:
    plain, lean, ours = turns.cpu
    return Row(
        what=f"a refresh, worker's CPU, with its line in the log: {turns.name}",
        target="below one bare call",
        figure=f"{micro(ours)}: {ours / plain:.2f} x ({ours / lean:.2f} x the lean call)",
        floor=f"{micro(plain)} bare session.post ({micro(lean)} lean: without proxies and .netrc)",
        met=ours < plain,
    )


def _chart(all_turns: Sequence[Turns]) -> Chart:
    return Chart(
        name="refreshing",
        title="Refreshes a second, token endpoint with 200 ms latency, give or take half",
        unit="per second",
        labels=[turns.name for turns in all_turns],
        series={
            "bare session.post, lean": [turns.rates[0] for turns in all_turns],
            "refreshes, claim to commit": [turns.rates[1] for turns in all_turns],
            "ceiling": [turns.ceiling for turns in all_turns],
        },
    )
