"""Where the handlers find the state and the faults, and how both are forgotten."""

from aiohttp import web

from .faults import Faults
from .state import Settings, State


class Memory:
    """All that a running sandbox knows."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.faults = Faults()
        self.state = State(settings)

    def reset(self) -> None:
        """Back to the initial state: every token given out so far becomes garbage."""
        self.faults.clear()
        self.state = State(self.settings)


MEMORY = web.AppKey("memory", Memory)
