"""Where the handlers find the state and the faults, and how both are forgotten."""

from dataclasses import replace

from aiohttp import web

from .faults import Faults
from .state import Settings, State
from .worlds import World


class Memory:
    """All that a running sandbox knows."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.faults = Faults()
        self.state = State(settings)

    def reset(self, world: World | None = None) -> None:
        """Back to the initial state: every token given out so far becomes garbage.

        With a world it is that one until the next reset, else the one of the command line.
        """
        self.faults.clear()
        # Calls that came before, and are late, use up none of those that are programmed now.
        self.faults = Faults()
        self.state = State(replace(self.settings, world=world) if world else self.settings)


MEMORY = web.AppKey("memory", Memory)
