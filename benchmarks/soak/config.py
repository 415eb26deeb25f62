"""How large a soak is and how long it lasts: all numbers of a run, in one place."""

from dataclasses import dataclass

from spotify_auth.cooldown import CLIENT_REFUSED_SECONDS
from spotify_auth.sandbox.worlds import World
from spotify_auth.schedule import longest_exchange


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """One run. Times are in seconds."""

    seed: int
    world: World
    """Of the sandbox: what a refresh does to the refresh token."""
    users: int
    seconds: float | None
    """How long faults are injected; None is once through every kind, in a fixed order."""
    workers: int
    beats: int
    lifetime: int
    """Of an access token."""
    deadline: float
    sweep: float
    minimum: float
    pace: float
    """Multiplies the length of each fault, and the pauses between them."""
    memory_slack_mib: int = 4
    """Memory that a worker may use at the end beyond 105 % of what it used half-way."""
    lanes_per_worker: int = 16
    readers: int = 2

    @property
    def longest_exchange(self) -> float:
        """After this an exchange has ended, and no worker waits for its grant."""
        return longest_exchange(self.deadline)

    @property
    def settle_seconds(self) -> float:
        """How long recovery may take: the longest pause of the service, and some exchanges."""
        return CLIENT_REFUSED_SECONDS + 4 * self.longest_exchange

    def settings(self) -> dict[str, str]:
        """The settings of the service that follow from the config."""
        return {
            "ACCESS_TOKEN_LIFETIME_SECONDS": str(self.lifetime),
            "ACCESS_TOKEN_MINIMUM_SECONDS": str(self.minimum),
            "REFRESH_SWEEP_SECONDS": str(self.sweep),
            "TOKEN_ENDPOINT_DEADLINE_SECONDS": str(self.deadline),
        }


def long_config(*, seed: int, world: World, minutes: float, users: int) -> Config:
    """`make soak`: a token is refreshed about every 90 s, and left 24 s before it expires."""
    return Config(
        seed=seed,
        world=world,
        users=users,
        seconds=minutes * 60,
        workers=3,
        beats=2,
        lifetime=120,
        deadline=9,
        sweep=2,
        minimum=2,
        pace=1,
    )


def short_config(*, seed: int, world: World) -> Config:
    """The same in small, for `make test`: once through every kind of fault."""
    return Config(
        seed=seed,
        world=world,
        users=40,
        seconds=None,
        workers=2,
        beats=2,
        lifetime=20,
        deadline=1.5,
        sweep=0.3,
        minimum=1,
        pace=0.15,
        # Half a minute warms nothing up: only a gross leak would show.
        memory_slack_mib=24,
        lanes_per_worker=8,
    )
