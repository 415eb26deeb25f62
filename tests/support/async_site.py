"""The service as uvicorn serves it, with some async views of a project beside its pages."""

import asyncio

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import path

from config.asgi import application
from config.urls import handler500, urlpatterns
from spotify_auth import tokens, web_api
from spotify_auth.decorators import spotify_required
from spotify_auth.models import Cause

__all__ = ["application", "handler500"]

settings.ROOT_URLCONF = __name__


@spotify_required
async def page(request: HttpRequest) -> HttpResponse:
    """Its template has the context processors of the site."""
    return render(request, "base.html")


@spotify_required
async def calls(request: HttpRequest) -> HttpResponse:
    answers = await web_api.aget_all(request.user, {"me": ("/me", {})})
    me = answers["me"]
    return JsonResponse({"me": me["account_id"] if isinstance(me, dict) else str(me)})


@spotify_required
async def session(request: HttpRequest) -> HttpResponse:
    """Fifty calls, five at once, in one session."""
    statuses: list[int] = []
    async with web_api.async_session_for(request.user) as spotify:
        for _ in range(10):
            answers = await asyncio.gather(*(spotify.get("/me") for _ in range(5)))
            statuses += [answer.status_code for answer in answers]
    return JsonResponse({"statuses": statuses})


async def read(request: HttpRequest, user_id: int) -> HttpResponse:
    token = await tokens.aaccess_token_for(user_id)
    return JsonResponse({"generation": token.generation})


async def waits(request: HttpRequest, user_id: int) -> HttpResponse:
    await tokens.aaccess_token_for(user_id)
    await asyncio.sleep(60)
    return HttpResponse()


async def demoted(request: HttpRequest, user_id: int) -> HttpResponse:
    """What a nudge does on the connection of a primary that has become a standby."""

    def demote() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = on")

    await sync_to_async(demote)()
    return await nudged(request, user_id)


async def nudged(request: HttpRequest, user_id: int) -> HttpResponse:
    nudge = sync_to_async(tokens.nudge)
    return JsonResponse({"changed": await nudge(user_id, generation=1, cause=Cause.STALE_READ)})


urlpatterns = [
    path("async/page/", page),
    path("async/calls/", calls),
    path("async/session/", session),
    path("async/read/<int:user_id>/", read),
    path("async/waits/<int:user_id>/", waits),
    path("async/demoted/<int:user_id>/", demoted),
    path("async/nudged/<int:user_id>/", nudged),
    *urlpatterns,
]
