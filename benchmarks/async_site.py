"""The ASGI site that `reading` serves by uvicorn: views that read a token, and one that does not.

With the variable POOL it has Django's pool of connections, as docs/how-to/read-in-async-views.md
says. `raw` is the floor: psycopg's own async connections, and no Django between.
"""

import os
from typing import Any

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import path
from psycopg_pool import AsyncConnectionPool

from config import settings as ours

POOL = {"min_size": 4, "max_size": 16, "timeout": 5}
_SELECT = "SELECT access_token, expires_at FROM spotify_auth_spotifytoken WHERE user_id = %s"


def _databases() -> dict[str, dict[str, Any]]:
    """Without a pool connections end with their request, since its thread does."""
    database = {**ours.DATABASES["default"], "CONN_MAX_AGE": 0}
    if "POOL" in os.environ:
        database["OPTIONS"] = {**database["OPTIONS"], "pool": POOL}
    return {"default": database}


settings.configure(
    **{name: getattr(ours, name) for name in dir(ours) if name.isupper()}
    | {"ROOT_URLCONF": __name__, "MIDDLEWARE": [], "DATABASES": _databases()}
)
application = get_asgi_application()

from django.contrib.auth import get_user_model  # noqa: E402  (it needs the settings)

from spotify_auth import tokens  # noqa: E402
from spotify_auth.decorators import spotify_required  # noqa: E402
from spotify_auth.models import SpotifyToken  # noqa: E402

_pool: AsyncConnectionPool | None = None


async def read(request: HttpRequest, user_id: int) -> HttpResponse:
    """As an async view of a project does."""
    return _tell(await tokens.aaccess_token_for(user_id))


def sync(request: HttpRequest, user_id: int) -> HttpResponse:
    """The same in a sync view, which Django calls in the request's thread."""
    return _tell(tokens.access_token_for(user_id))


async def page(request: HttpRequest, user_id: int) -> HttpResponse:
    """A view with `spotify_required`, whose user is known: the token, and nothing else."""
    request.user = get_user_model()(pk=user_id)
    return await _page(request)


@spotify_required
async def _page(request: HttpRequest) -> HttpResponse:
    return _tell(request.user)


async def raw(request: HttpRequest, user_id: int) -> HttpResponse:
    """One SELECT and its decryption."""
    pool = await _opened()
    async with pool.connection() as session:
        row = await (await session.execute(_SELECT, [user_id])).fetchone()
    assert row
    return _tell(SpotifyToken.unseal("access_token", row[0], user_id=user_id))


async def nothing(request: HttpRequest, user_id: int) -> HttpResponse:
    """What a request costs by itself."""
    return _tell(user_id)


def _tell(what: object) -> HttpResponse:
    return HttpResponse(str(bool(what)))


async def _opened() -> AsyncConnectionPool:
    global _pool
    if _pool is None:
        parameters = connection.get_connection_params()
        names = ("host", "port", "user", "password", "dbname")
        _pool = AsyncConnectionPool(
            kwargs={name: parameters[name] for name in names} | {"autocommit": True},
            min_size=POOL["min_size"],
            open=False,
        )
        await _pool.open(wait=True)
    return _pool


urlpatterns = [
    path("read/<int:user_id>", read),
    path("sync/<int:user_id>", sync),
    path("page/<int:user_id>", page),
    path("raw/<int:user_id>", raw),
    path("nothing/<int:user_id>", nothing),
]
