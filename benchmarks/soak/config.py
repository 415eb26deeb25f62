"""How large a soak is and how long it lasts: all numbers of a run, in one place."""

from dataclasses import dataclass

from spotify_auth.cooldown import CLIENT_REFUSED_SECONDS
from spotify_auth.sandbox.worlds import World
from spotify_auth.schedule import APPEAL_HOURS, longest_exchange, smallest_margin

SPOTIFY_LIFETIME_SECONDS = 3600
"""Of a real access token. What the service waits for in hours is shortened as much as this is."""


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
    spotify_seconds: float
    """The usual duration of an answer: so kills and freezes meet exchanges in flight."""
    lanes_per_worker: int = 16
    readers: int = 2
    freezes: tuple[float, float] = (30, 60)
    """How long a worker is frozen so that it loses its locks."""
    held: float
    """For how long a refusal is not believed while refusals are not rare."""

    @property
    def longest_exchange(self) -> float:
        """After this an exchange has ended, and PostgreSQL has ended its lock."""
        return longest_exchange(self.deadline)

    @property
    def longest_doubt(self) -> float:
        """After this no worker waits for the grant of another one's exchange."""
        # It needs settings, which follow from this config.
        from spotify_auth.refresh.saved_grants import RESCUE_SECONDS

        return self.longest_exchange + RESCUE_SECONDS

    @property
    def delay(self) -> float:
        """How much later than usual a token may be asked about: a pause, and a doubt."""
        return CLIENT_REFUSED_SECONDS + self.longest_doubt

    @property
    def judges_staleness(self) -> bool:
        """Whether there is time for a doubt and an exchange before a token expires.

        In earnest it is 720 s for 39 s and 24 s. Not all times of the service can be shortened.
        """
        return smallest_margin(self.lifetime) > self.longest_doubt + 2 * self.deadline

    @property
    def told_within(self) -> float:
        """Seconds from a revocation at Spotify to *Reconnect now*: the access token has expired."""
        return self.lifetime + self.delay

    @property
    def judged_within(self) -> float:
        """Seconds from a revocation at Spotify to the verdict, also as one of many.

        The first refusal comes with the next refresh, and the first one after `held` is
        believed; meanwhile the token is asked for again after half of that time, and a
        quarter more.
        """
        return self.told_within + self.held * 1.625

    @property
    def appeal_within(self) -> float:
        """Seconds from a wrong verdict to its end: the first appeal, at the scale of the soak."""
        return self.scaled(APPEAL_HOURS[0] * 3600) + self.delay

    @property
    def settle_seconds(self) -> float:
        """How long recovery may take: somebody may have been revoked at the very end."""
        return self.judged_within + self.delay

    def scaled(self, seconds: float) -> float:
        """A time of the service, shortened as much as the life of the access tokens."""
        return seconds * self.lifetime / SPOTIFY_LIFETIME_SECONDS

    def settings(self) -> dict[str, str]:
        """The settings of the service that follow from the config."""
        return {
            "ACCESS_TOKEN_LIFETIME_SECONDS": str(self.lifetime),
            "ACCESS_TOKEN_MINIMUM_SECONDS": str(self.minimum),
            "REFRESH_SWEEP_SECONDS": str(self.sweep),
            "TOKEN_ENDPOINT_DEADLINE_SECONDS": str(self.deadline),
            "OUTAGE_GUARD_LONGEST_SECONDS": str(self.held),
        }


def long_config(*, seed: int, world: World, minutes: float, users: int) -> Config:
    """`make soak`: a token is refreshed about every 135 s, 36 s or more before it expires."""
    return Config(
        seed=seed,
        world=world,
        users=users,
        seconds=minutes * 60,
        workers=3,
        beats=2,
        lifetime=180,
        deadline=4,
        sweep=2,
        minimum=2,
        pace=1,
        held=60,
        spotify_seconds=1,
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
        freezes=(20, 25),
        held=15,
        spotify_seconds=0.2,
        # Half a minute warms nothing up: only a gross leak would show.
        memory_slack_mib=24,
        lanes_per_worker=8,
    )
