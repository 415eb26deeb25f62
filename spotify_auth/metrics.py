"""`/metrics` for Prometheus: the figures of the whole service, the same from every process.

What is asked of PostgreSQL and Redis is kept for a sweep's interval, 15 s at most, and asked by
one thread of a process at a time. A scrape waits for it for some seconds and no longer: when
PostgreSQL hangs, what is known without it is answered. Counters are PostgreSQL's own
(`figures.roll_up`), so a restart does not set them back.
"""

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ImproperlyConfigured
from django.db import Error, connection
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.cache import add_never_cache_headers

try:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric
    from prometheus_client.exposition import choose_encoder
except ModuleNotFoundError:
    raise ImproperlyConfigured(
        'spotify_auth.metrics needs prometheus-client: install "spotify-token-keeper[metrics]".'
    ) from None

from spotify_auth import metric_families, presence, service_pause
from spotify_auth.both_ways import AsyncGetResponse, BothWays, GetResponse
from spotify_auth.conf import settings
from spotify_auth.database_faults import leave_standby
from spotify_auth.figures import summary
from spotify_auth.figures.summary import Summary
from spotify_auth.figures.traffic import Traffic
from spotify_auth.health import is_operator
from spotify_auth.presence import Seen
from spotify_auth.time_limit import limited

logger = logging.getLogger(__name__)

KEPT_SECONDS = 15.0
WAIT_SECONDS = 5.0
"""How long a scrape waits for PostgreSQL and Redis: Prometheus itself gives up after 10 s."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What was found out; None where a server did not answer."""

    summary: Summary | None = None
    processes: list[Seen] | None = None
    paused: bool | None = None
    traffic: Traffic | None = None


class Figures:
    """The figures that one process keeps. Threads share them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known = self._meanwhile = Known()
        self._ask_at = 0.0
        self._asking: threading.Thread | None = None

    def get(self) -> Known:
        """What is known: kept for a moment, or found out now, within WAIT_SECONDS."""
        with self._lock:
            if time.monotonic() < self._ask_at:
                return self._known
            if self._asking is None:
                self._meanwhile = Known()
                self._asking = threading.Thread(target=self._ask, name="figures", daemon=True)
                self._asking.start()
            asking = self._asking
        asking.join(WAIT_SECONDS)
        # A server that has not answered by now is away: what it said before is no figure of today.
        return self._meanwhile if asking.is_alive() else self._known

    def _ask(self) -> None:
        known = Known()
        try:
            # Before PostgreSQL, which may hang: its fault must not look like that of both.
            known = self._meanwhile = Known(traffic=summary.look_at_redis())
            known = _look(known)
        finally:
            connection.close()
            with self._lock:
                self._known, self._asking = known, None
                self._ask_at = time.monotonic() + min(KEPT_SECONDS, settings.REFRESH_SWEEP_SECONDS)


def _look(without_postgresql: Known) -> Known:
    try:
        with limited(seconds=WAIT_SECONDS):
            found, processes = summary.look(), presence.seen()
            paused = service_pause.current() is not None
    except Error as error:
        leave_standby(error)
        logger.warning("figures_unknown reason=%s", type(error).__name__)
        return without_postgresql
    return Known(summary=found, processes=processes, paused=paused, traffic=found.traffic)


class FiguresCollector:
    """What prometheus-client asks at each scrape."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def describe(self) -> list[Metric]:
        """Nothing: to register must not ask any server."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All metrics, as far as they are known."""
        known = self._figures.get()
        yield from metric_families.of_servers(
            postgresql=known.summary is not None, redis=known.traffic is not None
        )
        yield from metric_families.of_settings()
        if known.summary is not None:
            yield from metric_families.of_summary(known.summary)
        if known.processes is not None:
            yield from metric_families.of_processes(known.processes)
        if known.paused is not None:
            yield from metric_families.of_pause(paused=known.paused)
        if known.traffic is not None:
            yield from metric_families.of_traffic(known.traffic)


# One of our own: the library's default registry has what it finds out about this process alone.
registry = CollectorRegistry(auto_describe=False)
registry.register(FiguresCollector(Figures()))


@login_not_required
def metrics(request: HttpRequest) -> HttpResponse:
    """The figures, to operators only: for all others there is no such page."""
    if not is_operator(request):
        raise Http404
    if request.method not in {"GET", "HEAD"}:
        return HttpResponse("GET\n", "text/plain", status=405, headers={"Allow": "GET, HEAD"})
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    response = HttpResponse(encode(registry), content_type)
    add_never_cache_headers(response)
    return response


class MetricsMiddleware(BothWays):
    """Answers `/metrics` to a program with a token, before all else.

    As a probe does, it calls a process by its address, without a session and without https. The
    staff asks by session, through the view.
    """

    def answer(self, request: HttpRequest, get_response: GetResponse) -> HttpResponse:
        """Answer a program, or let the site answer."""
        return _for_a_program(request) if _is_program(request) else get_response(request)

    async def aanswer(self, request: HttpRequest, get_response: AsyncGetResponse) -> HttpResponse:
        """The same; a scrape waits for PostgreSQL and Redis in a thread."""
        answers = sync_to_async(_for_a_program) if _is_program(request) else get_response
        return await answers(request)


def _is_program(request: HttpRequest) -> bool:
    return request.path == "/metrics" and "Authorization" in request.headers


def _for_a_program(request: HttpRequest) -> HttpResponse:
    try:
        return metrics(request)
    except Http404:
        return HttpResponse("not found\n", "text/plain", status=404)
