"""The report of a soak: the figures, the goals, and whether they were met."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from django.db.models import Count

from benchmarks.soak.cluster import Cluster
from benchmarks.soak.monitor import (
    EVERY_SECONDS,
    REVOKED,
    ForcedLogin,
    Monitor,
    WrongVerdict,
    medians,
)
from benchmarks.soak.readers import Readers
from benchmarks.soak.runner import Runner
from spotify_auth.models import Outcome, TokenEvent
from spotify_auth.schedule import REFRESH_WINDOW

MIB = 1024 * 1024
MEMORY_SLACK_SHARE = 0.05
"""How much more a worker may hold at the end than half-way, beside the config's slack. Its
start is left out, since caches and threads fill then; a leak would grow on."""
UNNOTICED = 3
"""Sessions that were cut, or of a process that was killed, before PostgreSQL has noticed. A thread
that left its connection behind would leave one at each fault, and soon be beyond."""
BY_THE_SERVICE = "by the service"


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """One thing that must hold at the end of every soak."""

    words: str
    met: bool


class Report:
    """Reads everything once, when the soak is over."""

    def __init__(
        self, cluster: Cluster, runner: Runner, monitor: Monitor, readers: Readers, *, settled: bool
    ) -> None:
        self._config = cluster.config
        self._seconds = monitor.seconds
        self._injected = runner.injected
        self._reads, self._web_api = readers.reads, readers.web_api
        self._settled = settled
        self._forced = monitor.forced_logins
        self._wrong = monitor.wrong_verdicts
        self._told, self._judged = monitor.told_after, monitor.judged_after
        self._untold = len(cluster.revoked_at)
        self._stale, self._healthy_stale = monitor.stale, monitor.healthy_stale
        self._pauses_of_nobody = monitor.pauses_of_nobody
        self._deadlocks = monitor.deadlocks()
        self._connections = monitor.connections
        self._memory = {monitor.names[pid]: samples for pid, samples in _lived(monitor)}
        self._restarts = len(monitor.memory) - len(cluster.workers)
        stats = cluster.sandbox.stats()
        self._totals: dict[str, int] = stats["totals"]
        self._in_flight_max = max(user["in_flight_max"] for user in stats["users"].values())
        self._reuses = _reuses(stats, cluster)
        self._outcomes = _count("outcome")
        self._extra = _extra_refreshes(cluster.config.lifetime)
        # One for each thread that works: lanes, each worker's watch on the sweeps, readers, and
        # the soak itself.
        lanes_and_watch = cluster.config.lanes_per_worker + 1
        self._most_connections = (
            cluster.config.workers * lanes_and_watch + cluster.config.readers + 1 + UNNOTICED
        )

    def goals(self) -> Iterator[Goal]:
        """All goals of a soak."""
        ours = [one for one in self._forced if not _is_excused(one)]
        config = self._config
        yield Goal(words="no forced login but after a revocation or a lost answer", met=not ours)
        within = config.appeal_within
        yield Goal(
            words=f"nobody was wrongly asked to reconnect for more than {within:.0f} s",
            met=all(self._wrong_for(one) <= within for one in self._wrong),
        )
        yield Goal(
            words=f"who was revoked had a button within {config.told_within:.0f} s, "
            f"and the verdict within {config.judged_within:.0f} s",
            met=not self._untold
            and max(self._told, default=0) <= config.told_within
            and max(self._judged, default=0) <= config.judged_within,
        )
        if config.judges_staleness:
            yield Goal(
                words="nobody was stale whom Spotify would have served",
                met=not self._healthy_stale,
            )
        yield Goal(words="all paused only for a fault of everybody", met=not self._pauses_of_nobody)
        reused = self._reuses[BY_THE_SERVICE]
        yield Goal(words="the service presented no dead refresh token", met=not reused)
        yield Goal(words="one exchange in flight per user", met=self._in_flight_max <= 1)
        yield Goal(words="no deadlock", met=self._deadlocks == 0)
        yield Goal(words="memory is flat", met=all(map(self._is_flat, self._memory.values())))
        most = max((count for _, count in self._connections), default=0)
        yield Goal(
            words=f"never more than {self._most_connections} connections, about one per thread",
            met=0 < most <= self._most_connections,
        )
        yield Goal(words="every token is fresh at the end", met=self._settled)

    def lines(self) -> Iterator[str]:
        """The report, a line at a time."""
        config, totals = self._config, self._totals
        lifetimes = self._seconds / config.lifetime
        yield (
            f"soak: {config.users} users, {self._seconds / 60:.1f} minutes, seed {config.seed}; "
            f"{config.workers} workers, {config.beats} beats; "
            f"access tokens live {config.lifetime} s"
        )
        yield (
            f"refreshes: {totals['refreshes']} of {totals['refreshes_attempted']} requested, "
            f"{totals['refreshes'] / config.users / lifetimes:.2f} per user and lifetime"
        )
        yield f"outcomes in the history: {_table(self._outcomes)}"
        yield f"faults injected: {sum(self._injected.values())}"
        for kind, count in sorted(self._injected.items()):
            yield f"  {count:3}  {kind}"
        yield f"dead refresh tokens presented: {_table(self._reuses)}"
        yield f"extra refreshes (before {REFRESH_WINDOW[0]:.0%} of a life): {_table(self._extra)}"
        reads = sum(self._reads.values())
        stale = self._reads["TokenStale"]
        yield f"reads: {reads}, stale {stale} ({stale / max(reads, 1):.3%}); {_table(self._reads)}"
        yield f"Web API calls of the readers: {_table(self._web_api)}"
        yield f"Web API calls answered 401: {totals['web_api_unauthorized']}"
        unexpected = [one for one in self._forced if one.excuse != REVOKED]
        yield (
            f"forced logins: {len(self._forced)}, "
            f"{len(self._forced) - len(unexpected)} of them {REVOKED}"
        )
        for one in unexpected:
            yield (
                f"  at {one.seconds:.0f} s, user {one.user_id}: {one.reason}, "
                f"{one.excuse or BY_THE_SERVICE.upper()}"
            )
        yield f"wrong verdicts: {len(self._wrong)}"
        for wrong in self._wrong:
            yield (
                f"  at {wrong.since:.0f} s, user {wrong.user_id}: {wrong.reason}, "
                f"for {self._wrong_for(wrong):.0f} s"
                f"{'' if wrong.until else ', NOT MENDED'}"
            )
        yield (
            f"revoked at Spotify: {len(self._judged)} judged, {self._untold} not yet; "
            f"button after {_spread(self._told)}, verdict after {_spread(self._judged)}"
        )
        yield f"stale tokens seen, every {EVERY_SECONDS:.0f} s: {_table(self._stale)}"
        for user_id, words in self._healthy_stale.items():
            yield f"  user {user_id} {words}, HEALTHY"
        if self._pauses_of_nobody:
            yield f"pauses that nothing explains: {', '.join(sorted(self._pauses_of_nobody))}"
        yield f"deadlocks: {self._deadlocks}"
        yield f"most exchanges in flight for one user: {self._in_flight_max}"
        yield f"workers started again: {self._restarts}"
        for name, samples in sorted(self._memory.items()):
            start, middle, end = (value / MIB for value in medians(samples, seconds=self._seconds))
            yield f"memory of {name}, MiB: {start:.1f} start, {middle:.1f} middle, {end:.1f} end"
        start, middle, end = medians(self._connections, seconds=self._seconds)
        most = max((count for _, count in self._connections), default=0)
        yield f"connections: {start} start, {middle} middle, {end} end, {most} maximum"
        for goal in self.goals():
            yield f"{'ok    ' if goal.met else 'MISSED'}  {goal.words}"

    def _wrong_for(self, wrong: WrongVerdict) -> float:
        return (wrong.until or self._seconds) - wrong.since

    def _is_flat(self, samples: list[tuple[float, int]]) -> bool:
        _, middle, end = medians(samples, seconds=self._seconds)
        slack = self._config.memory_slack_mib * MIB
        return 0 < end <= middle * (1 + MEMORY_SLACK_SHARE) + slack


def _is_excused(forced: ForcedLogin) -> bool:
    return forced.excuse == REVOKED or (bool(forced.excuse) and forced.reason == "answer_lost")


def _spread(seconds: list[float]) -> str:
    if not seconds:
        return "nothing"
    return f"{min(seconds):.0f} to {max(seconds):.0f} s, median {median(seconds):.0f} s"


def _lived(monitor: Monitor) -> Iterator[tuple[int, list[tuple[float, int]]]]:
    """The workers that lived from the start to the end."""
    for pid, samples in monitor.memory.items():
        if samples[0][0] < 0.1 * monitor.seconds and samples[-1][0] > 0.9 * monitor.seconds:
            yield pid, samples


def _reuses(stats: dict[str, list[str]], cluster: Cluster) -> Counter[str]:
    """The cause of each use of a dead token."""
    spoiled = set(stats["answers_spoiled"])

    def fault(digest: str) -> str:
        if digest in spoiled:
            return "answer cut by the sandbox"
        lost = cluster.lost_in_flight.get(digest)
        return lost.how if lost else BY_THE_SERVICE

    return Counter(map(fault, stats["dead_tokens_shown"]))


def _extra_refreshes(lifetime: int) -> Counter[str]:
    """Refreshes that came before their time, by what caused them."""
    early = TokenEvent.objects.filter(
        outcome=Outcome.REFRESHED, lifetime_used__lt=int(lifetime * REFRESH_WINDOW[0])
    )
    return Counter(dict(early.values_list("cause").annotate(n=Count("pk"))))


def _count(column: str) -> Counter[str]:
    counted = TokenEvent.objects.order_by().values_list(column).annotate(n=Count("pk"))
    return Counter(dict(counted))


def _table(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common()) or "none"
