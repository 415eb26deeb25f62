"""Health checks: `/livez` and `/readyz`, for load balancers, Docker and Kubernetes.

`/livez` says that the process answers, and nothing of what it depends on: whoever restarts
processes by it restarts none because PostgreSQL is away. `/readyz` says whether users are
served: the database, its migrations, sweeps, and fresh tokens. `?exclude=sweep` leaves a check
out, as Kubernetes's own API server does; `?verbose` tells operators which check failed.
"""

import hmac
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

import redis
from asgiref.sync import sync_to_async
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.cache import add_never_cache_headers

from spotify_auth import freshness, redis_client
from spotify_auth.both_ways import AsyncGetResponse, BothWays, GetResponse
from spotify_auth.conf import settings
from spotify_auth.database_faults import leave_standby

FRESH_SHARE: Final = 0.99
"""Fewer connected users than this with a fresh token, and more than one without: not ready."""
LOOK_AGAIN_SECONDS = 1.0
"""How often a process asks PostgreSQL for the figures, however many ask it (monotonic clock)."""
REST: Final = 10
"""It asks for a tenth of the time at most: figures that are slow are asked for less often."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one check found: whether all is well, and a sentence with figures."""

    ok: bool
    detail: str


def check_database() -> Found:
    """PostgreSQL answers."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_is_in_recovery()")
        standby = cursor.fetchone()[0]
    return Found(not standby, "a read-only standby answers" if standby else "PostgreSQL answers")


class MigrationCheck:
    """Every migration was applied. Once they were, nobody unapplies them under this process."""

    def __init__(self) -> None:
        self._applied = False

    def __call__(self) -> Found:
        if not self._applied:
            executor = MigrationExecutor(connection)
            missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
            if missing:
                return Found(False, f"{len(missing)} are missing: run `manage.py migrate`")
            self._applied = True
        return Found(True, "all are applied")


def check_sweep() -> Found:
    """A sweep came within three intervals, of beat or of a worker."""
    age, interval = freshness.sweep_age(), settings.REFRESH_SWEEP_SECONDS
    if age is None:
        return Found(False, "there was no sweep yet: start a worker and a beat")
    ok = freshness.is_recent(age)
    advice = "" if ok else ": is a worker running, and a beat?"
    return Found(
        ok, f"the last sweep was {age:.0f} s ago, each {interval:.0f} s is one due{advice}"
    )


class FreshnessCheck:
    """Connected users have fresh tokens. Those whom Spotify refused do not count.

    Anybody may ask, and the figures cost most when PostgreSQL has most to do: so they are kept
    for a moment.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._look_at = 0.0
        self._found = Found(True, "")

    def __call__(self) -> Found:
        with self._lock:
            if time.monotonic() >= self._look_at:
                began = time.monotonic()
                self._found = self._look()
                now = time.monotonic()
                self._look_at = now + max(LOOK_AGAIN_SECONDS, REST * (now - began))
            return self._found

    def _look(self) -> Found:
        now = freshness.measure()
        share = 1 - now.unexplained / now.connected if now.connected else 1.0
        detail = (
            f"{now.unexplained} of {now.connected} connected users have no fresh token, "
            f"{now.overdue} tokens are overdue, the oldest by {now.oldest_overdue:.0f} s"
        )
        return Found(share >= FRESH_SHARE or now.unexplained <= 1, detail)


def check_redis() -> Found:
    """Redis answers. A warning only: tokens are read, and kept fresh, without it."""
    try:
        redis_client.client().ping()
    except redis.RedisError as error:
        return Found(True, f"warning: {type(error).__name__}: no pauses, marks and nudges")
    return Found(True, "Redis answers")


CHECKS: Final[Mapping[str, Callable[[], Found]]] = {
    "database": check_database,
    "migrations": MigrationCheck(),
    "sweep": check_sweep,
    "freshness": FreshnessCheck(),
    "redis": check_redis,
}


class HealthMiddleware(BothWays):
    """Answers `/livez` and `/readyz` before all else.

    A probe calls a process by its address, without a session and without https: the checks of
    the host, and the redirects to the site, are not for it.
    """

    def answer(self, request: HttpRequest, get_response: GetResponse) -> HttpResponse:
        """Answer a probe, or let the site answer."""
        if request.path == "/livez":
            return livez(request)
        return readyz(request) if _is_probe(request) else get_response(request)

    async def aanswer(self, request: HttpRequest, get_response: AsyncGetResponse) -> HttpResponse:
        """The same; only `/readyz` needs a thread, for it asks PostgreSQL and Redis."""
        if request.path == "/livez":
            return livez(request)
        return await (sync_to_async(readyz) if _is_probe(request) else get_response)(request)


def _is_probe(request: HttpRequest) -> bool:
    """Whether this asks for `/readyz` without a session, which would tell who is an operator."""
    by_session = "verbose" in request.GET and "Authorization" not in request.headers
    return request.path == "/readyz" and not by_session


def livez(request: HttpRequest) -> HttpResponse:
    """200: this process answers."""
    return _plain(request, 200, "ok\n")


@login_not_required
def readyz(request: HttpRequest) -> HttpResponse:
    """200 if every check is well, else 503. Only operators are told which one is not."""
    if request.method not in {"GET", "HEAD"}:
        return _plain(request, 405, "GET\n")
    without = request.GET.getlist("exclude")
    found = look(without=without)
    well = all(each.ok for each in found.values())
    status = 200 if well else 503
    if "verbose" in request.GET and is_operator(request):
        response: HttpResponse = JsonResponse(
            {
                "ready": well,
                "checks": {
                    name: {"ok": each.ok, "detail": each.detail} for name, each in found.items()
                },
                # A name that is misspelt leaves nothing out.
                "unknown_excludes": sorted({*without} - CHECKS.keys()),
            },
            status=status,
        )
        return _guarded(response)
    return _plain(request, status, "ok\n" if well else "not ready\n")


def look(*, without: Collection[str] = ()) -> dict[str, Found]:
    """What each check finds. Without PostgreSQL there is nothing more to ask."""
    found: dict[str, Found] = {}
    for name, check in CHECKS.items():
        if name in without:
            continue
        try:
            found[name] = check()
        except Error as error:
            leave_standby(error)
            found[name] = Found(False, f"PostgreSQL does not answer: {type(error).__name__}")
            break
    return found


def is_operator(request: HttpRequest) -> bool:
    """Whether a program asks with OPERATIONS_TOKEN as Bearer token, or who may enter the admin.

    That is more than being staff: a login with Spotify alone, or one of long ago, is not enough.
    """
    token = settings.OPERATIONS_TOKEN
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    is_bearer = scheme.lower() == "bearer"  # RFC 9110, 11.1: in any letters
    if token and is_bearer and hmac.compare_digest(given.strip().encode(), token.encode()):
        return True
    if not hasattr(request, "user"):
        return False
    if apps.is_installed("django.contrib.admin"):
        return admin.site.has_permission(request)
    return request.user.is_active and getattr(request.user, "is_staff", False)


def _plain(request: HttpRequest, status: int, text: str) -> HttpResponse:
    response = HttpResponse(text, status=status, content_type="text/plain; charset=utf-8")
    if status == 405:
        response["Allow"] = "GET, HEAD"
    return _guarded(response)


def _guarded(response: HttpResponse) -> HttpResponse:
    """With the headers that middleware further in would have set, for a browser that comes by."""
    add_never_cache_headers(response)
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'"
    response["X-Frame-Options"] = "DENY"
    response["Referrer-Policy"] = "no-referrer"
    return response
