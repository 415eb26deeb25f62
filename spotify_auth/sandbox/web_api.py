"""GET /v1/me and what hangs below it: the part of the Web API a dashboard needs."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from json import dumps
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from .catalogue import Json, episode
from .listening import now_ms, recent_plays, track_at
from .memory import MEMORY, Memory
from .personas import TIME_RANGES, Persona, Playing, persona
from .state import Account, Grant

_IN_ADDRESS = "access_token"
_OWN_PATHS = ("/pictures/", "/v1/")
_LARGEST_OFFSET = 100_000
_MOST_DIGITS = 16
_END_OF_TIME_MS = 10**15
_OWNER_WITHOUT_PREMIUM = (
    "Active premium subscription required for the owner of the app. When the subscription status "
    "changes, it can take a few hours before requests are allowed again."
)


class WebApiError(Exception):
    """An error of the Web API: nested, unlike those of the token endpoint.

    `plain`: the bare message, as Spotify sometimes answers people who are not listed.
    """

    def __init__(
        self,
        status: int,
        message: str,
        retry_after: str | None = None,
        *,
        reason: str | None = None,
        plain: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after
        self.reason = reason
        self.plain = plain

    def response(self) -> web.Response:
        headers = {} if self.retry_after is None else {"Retry-After": self.retry_after}
        if self.plain:
            return web.Response(text=self.message, status=self.status, headers=headers)
        error: Json = {"status": self.status, "message": self.message}
        if self.reason is not None:
            error["reason"] = self.reason
        return web.json_response({"error": error}, status=self.status, headers=headers)


@dataclass(frozen=True, slots=True)
class Call:
    """One authorised request: whose it is, and what it asks for."""

    persona: Persona
    path: str
    query: Mapping[str, str]

    def number(self, name: str, default: int, lowest: int, highest: int) -> int:
        """An integer parameter, within its bounds."""
        value = self.query.get(name, str(default))
        if (
            len(value) > _MOST_DIGITS
            or not value.isdecimal()
            or not lowest <= int(value) <= highest
        ):
            raise WebApiError(400, f"Invalid {name}")
        return int(value)

    def limit(self) -> int:
        return self.number("limit", 20, 1, 50)

    def address(self, **changed: int | str) -> str:
        """The address of this call with some parameters changed."""
        return f"/v1/{self.path}?{urlencode({**self.query, **changed})}"


def _me(call: Call) -> Json:
    return call.persona.profile()


def _top_artists(call: Call) -> Json:
    return _page(call, call.persona.top_artists(_time_range(call)))


def _top_tracks(call: Call) -> Json:
    return _page(call, call.persona.top_tracks(_time_range(call)))


def _playlists(call: Call) -> Json:
    return _page(call, call.persona.playlists())


def _recently_played(call: Call) -> Json:
    """Cursor paging; never a podcast episode."""
    limit = call.limit()
    if "before" in call.query and "after" in call.query:
        raise WebApiError(400, "Only one of before and after may be used")
    now = now_ms()
    before = call.number("before", now, 0, _END_OF_TIME_MS)
    after = call.number("after", 0, 0, _END_OF_TIME_MS)
    plays = recent_plays(call.persona.rotation(), now)
    found = [play for play in plays if after < play.ended_ms < before][:limit]
    cursors = found and {"after": str(found[0].ended_ms), "before": str(found[-1].ended_ms)}
    has_more = found and found[-1].ended_ms > plays[-1].ended_ms
    return {
        "href": call.address(limit=limit),
        "items": [play.as_json() for play in found],
        "limit": limit,
        "next": call.address(limit=limit, before=found[-1].ended_ms) if has_more else None,
        "cursors": cursors or None,
    }


def _currently_playing(call: Call) -> Json | None:
    """None is 204. An episode needs `additional_types=episode`, else `item` is null."""
    playing = call.persona.playing
    if playing is Playing.NOTHING:
        return None
    now = now_ms()
    item: Json | None = None
    progress: int | None = None
    if playing in (Playing.TRACK, Playing.PAUSED):
        rotation = call.persona.rotation()
        index, progress = track_at(rotation, now)
        item = rotation[index]
    elif playing is Playing.EPISODE and "episode" in call.query.get("additional_types", ""):
        item = episode()
        progress = now % item["duration_ms"]
    return {
        "actions": {"disallows": {"resuming": True}},
        "context": None,
        "currently_playing_type": "track" if playing is Playing.PAUSED else playing.value,
        "is_playing": playing is not Playing.PAUSED,
        "item": item,
        "progress_ms": progress,
        "timestamp": now,
    }


Endpoint = Callable[[Call], Json | None]

_ENDPOINTS: Mapping[str, tuple[str | None, Endpoint]] = {
    "me": (None, _me),
    "me/top/artists": ("user-top-read", _top_artists),
    "me/top/tracks": ("user-top-read", _top_tracks),
    "me/player/recently-played": ("user-read-recently-played", _recently_played),
    "me/player/currently-playing": ("user-read-currently-playing", _currently_playing),
    "me/playlists": ("playlist-read-private", _playlists),
}
"""Path, the scope it needs, and who answers."""


async def web_api(request: web.Request) -> web.Response:
    """Check the bearer token and its scopes, then answer. Faults come before everything."""
    memory = request.app[MEMORY]
    found = memory.state.find_access_token(_token(request))
    account = found[0].account if found else None
    memory.state.totals.web_api_calls += 1
    if account:
        account.counters.web_api_calls += 1
    try:
        await _strike(request.path, memory, account)
        grant = _authorised(request, found)
        return _answer(request, grant)
    except WebApiError as error:
        for counters in (memory.state.totals, *([account.counters] if account else [])):
            counters.web_api_unauthorized += error.status == 401
            counters.web_api_rate_limited += error.status == 429
        return error.response()


async def _strike(path: str, memory: Memory, account: Account | None) -> None:
    def here(parameters: Mapping[str, Any]) -> bool:
        return path.startswith(parameters["path"])

    faults = memory.faults
    if refusal := faults.refuse("web_api_limit", account, here):
        raise WebApiError(429, "API rate limit exceeded", refusal.retry_after)
    # What strikes a call is what was in force when it came, however long it waits.
    latency, together, error = (
        faults.take(f"web_api_{name}", account, here) for name in ("latency", "together", "error")
    )
    premium = faults.take("owner_without_premium", account)
    if latency:
        await asyncio.sleep(latency.parameters["seconds"])
    if together:
        await faults.calls.wait_for_company(together.parameters["calls"])
    if premium:
        raise WebApiError(403, _OWNER_WITHOUT_PREMIUM, plain=premium.parameters["plain"])
    if error:
        given = error.parameters
        raise WebApiError(
            given["status"],
            given["message"],
            given["retry_after"],
            reason=given["reason"],
            plain=given["plain"],
        )


def _token(request: web.Request) -> str:
    """Of the header, or of the address (RFC 6750, section 2.3), as django-allauth's login does."""
    authorization = request.headers.get("Authorization")
    if authorization is None:
        return request.query.get(_IN_ADDRESS, "")
    return authorization.removeprefix("Bearer ").strip()


def _authorised(request: web.Request, found: tuple[Grant, bool] | None) -> Grant:
    authorization = request.headers.get("Authorization")
    if authorization is None and not request.query.get(_IN_ADDRESS):
        raise WebApiError(401, "No token provided")
    if authorization is not None and not authorization.startswith("Bearer "):
        raise WebApiError(400, "Only valid bearer authentication supported")
    if found is None:
        raise WebApiError(401, "Invalid access token")
    grant, alive = found
    if not alive:
        raise WebApiError(401, "The access token expired")
    return grant


def _answer(request: web.Request, grant: Grant) -> web.Response:
    # Spotify forgives a slash at the end: spotipy's me() asks for "/v1/me/".
    path = request.match_info["path"].removesuffix("/")
    if path not in _ENDPOINTS:
        raise WebApiError(404, "Service not found")
    caller = persona(grant.account.persona_id)
    if not caller.registered:
        raise WebApiError(403, "User not registered in the Developer Dashboard")
    scope, endpoint = _ENDPOINTS[path]
    if scope is not None and scope not in grant.scope.split():
        raise WebApiError(403, "Insufficient client scope")
    query = {name: value for name, value in request.query.items() if name != _IN_ADDRESS}
    answer = endpoint(Call(caller, path, query))
    if answer is None:
        return web.Response(status=204)
    return _cacheable(request, dumps(_absolute(answer, f"{request.scheme}://{request.host}")))


def _cacheable(request: web.Request, text: str) -> web.Response:
    """With an ETag; 304 when the client has this very answer."""
    headers = {
        "ETag": f'"{sha256(text.encode()).hexdigest()[:32]}"',
        "Cache-Control": "private, max-age=0",
    }
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return web.Response(status=304, headers=headers)
    return web.Response(text=text, content_type="application/json", headers=headers)


def _time_range(call: Call) -> str:
    time_range = call.query.get("time_range", "medium_term")
    if time_range not in TIME_RANGES:
        raise WebApiError(400, "Invalid time range")
    return time_range


def _page(call: Call, items: list[Json]) -> Json:
    """Offset paging."""
    limit, offset = call.limit(), call.number("offset", 0, 0, _LARGEST_OFFSET)
    following, preceding = offset + limit, max(0, offset - limit)
    return {
        "href": call.address(limit=limit, offset=offset),
        "items": items[offset:following],
        "limit": limit,
        "next": call.address(limit=limit, offset=following) if following < len(items) else None,
        "offset": offset,
        "previous": call.address(limit=limit, offset=preceding) if offset else None,
        "total": len(items),
    }


def _absolute(value: Any, base: str) -> Any:
    """The answer with the sandbox's own address before every path of its own."""
    if isinstance(value, dict):
        return {key: _absolute(inner, base) for key, inner in value.items()}
    if isinstance(value, list):
        return [_absolute(inner, base) for inner in value]
    if isinstance(value, str) and value.startswith(_OWN_PATHS):
        return base + value
    return value
