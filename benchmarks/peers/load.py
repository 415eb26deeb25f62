"""The load: users who come back at the time of expiry, each with several tabs at once."""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

SPREAD_SECONDS = 8.0
"""The time over which the arrivals of all users in one wave are spread."""

STEADY_SECONDS = (2.0, 3.2, 4.3)
"""When each user requests a single page after a visit: the token is fresh."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One page that was asked for. `status` is 0 when no answer came."""

    name: str
    at_expiry: bool
    status: int
    seconds: float


class Load:
    """Requests one site's page, in the names of all users.

    A new connection for each page: a kept one that the server is just closing would be
    counted as an error of the contestant.
    """

    def __init__(self, url: str, sessions: Mapping[str, str], *, tabs: int) -> None:
        self.visits: list[Visit] = []
        self._url = url
        self._sessions = sessions
        self._tabs = tabs

    async def warm_up(self) -> None:
        """Each user opens one page: imports and connections are not measured.

        Raises RuntimeError when one of them fails: then the bench is wrong, not the contestant.
        """
        async with self._client() as client:
            for name in self._sessions:
                await self._page(client, name, at_expiry=False)
        failed = {visit.status for visit in self.visits} - {200}
        if failed:
            raise RuntimeError(f"with fresh tokens, pages answered {failed}")
        self.visits.clear()

    async def run(self, *, waves: int, period: float) -> None:
        """`waves` visits of each user, `period` seconds apart, and single pages between."""
        names = list(self._sessions)
        random.Random(1).shuffle(names)
        async with self._client() as client, asyncio.TaskGroup() as tasks:
            started = time.monotonic()
            for wave in range(waves):
                for n, name in enumerate(names):
                    at = started + wave * period + n * SPREAD_SECONDS / len(names)
                    tasks.create_task(self._visit(client, name, at))

    async def _visit(self, client: ClientSession, name: str, at: float) -> None:
        await asyncio.sleep(at - time.monotonic())
        tabs = [self._page(client, name, at_expiry=True) for _ in range(self._tabs)]
        tabs_done = asyncio.gather(*tabs)
        for later in STEADY_SECONDS:
            await asyncio.sleep(at + later - time.monotonic())
            await self._page(client, name, at_expiry=False)
        await tabs_done

    async def _page(self, client: ClientSession, name: str, *, at_expiry: bool) -> None:
        started = time.perf_counter()
        try:
            cookie = {"Cookie": f"sessionid={self._sessions[name]}"}
            async with client.get(self._url, headers=cookie) as response:
                await response.read()
                status = response.status
        except (ClientError, TimeoutError):
            status = 0
        self.visits.append(Visit(name, at_expiry, status, time.perf_counter() - started))

    @staticmethod
    def _client() -> ClientSession:
        return ClientSession(
            connector=TCPConnector(limit=0, force_close=True), timeout=ClientTimeout(total=30)
        )


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of them does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
