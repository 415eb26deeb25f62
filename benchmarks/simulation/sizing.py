"""The load of one PostgreSQL and of the workers, from measured figures."""

from dataclasses import dataclass

from benchmarks.simulation import measured
from benchmarks.simulation.scenario import DAY, lanes_for, mean_load

THREADS = 64
"""WORKER_CONCURRENCY: lanes in one worker process."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizing:
    """The needs of this number of users on a quiet day."""

    users: int

    @property
    def per_second(self) -> float:
        """Refreshes a second."""
        return mean_load(self.users)

    @property
    def database_share(self) -> float:
        """The share of one PostgreSQL's commits."""
        return self.per_second / measured.DATABASE_PER_SECOND

    @property
    def events_a_day(self) -> float:
        """Rows of history a day."""
        return self.per_second * DAY

    @property
    def event_bytes_a_day(self) -> float:
        """Growth of the history a day."""
        return self.users * measured.HISTORY_BYTES_A_DAY

    @property
    def event_bytes_kept(self) -> float:
        """Size of the history once it is deleted as fast as it grows."""
        return self.users * measured.HISTORY_BYTES

    @property
    def wal_bytes_a_second(self) -> tuple[float, float]:
        """WAL with every page warm, and with every page cold."""
        return (
            self.per_second * measured.WAL_BYTES_WARM,
            self.per_second * measured.WAL_BYTES_COLD,
        )

    @property
    def token_bytes(self) -> float:
        """Size of the token table with its indexes."""
        return self.users * measured.TOKEN_BYTES

    @property
    def cores(self) -> float:
        """Worker cores that are busy on average."""
        return self.per_second * measured.WORKER_CPU_SECONDS

    def lanes(self, latency: float) -> int:
        """Lanes for twice the mean load."""
        return lanes_for(self.users, latency=latency, headroom=2)

    def processes(self, latency: float) -> int:
        """Worker processes for twice the mean load: enough threads, and enough CPU."""
        return max(-(-self.lanes(latency) // THREADS), -(-int(self.cores * 200) // 100))
