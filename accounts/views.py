"""The pages a person sees."""

from http import HTTPStatus

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django_htmx.http import HttpResponseClientRedirect

from accounts import dashboard as dashboard_data
from accounts.connection_page import connection_of, reconnect_soon
from accounts.requests import SignedInRequest
from spotify_auth.tokens import NotConnected, ReconnectRequired, TokenStale
from spotify_auth.web_api import Unauthorized


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """What this is, and the log-in button."""
    if "HX-Request" in request.headers:
        # A page that polls was sent here since its session has ended: let all of it go
        # to log in, instead of taking this page into itself.
        return HttpResponseClientRedirect(request.get_full_path())
    return render(request, "accounts/home.html", {"next": request.GET.get("next", "")})


@require_safe
@never_cache
@login_required
def dashboard(request: SignedInRequest) -> HttpResponse:
    """The person's music, or why it cannot be shown; htmx asks for the content alone."""
    template = "accounts/_dashboard.html" if request.htmx else "accounts/dashboard.html"
    context = _dashboard_context(request.user.pk)
    if context["state"] == "reconnecting" and _shows(request, "reconnecting"):
        return HttpResponse(status=HTTPStatus.NO_CONTENT)  # htmx leaves the page as it is
    return render(request, template, context)


@require_safe
@never_cache
@login_required
def connection(request: SignedInRequest) -> HttpResponse:
    """The state of the person's token; htmx asks for the content alone, every 2 s."""
    template = "accounts/_connection.html" if request.htmx else "accounts/connection.html"
    shown = connection_of(request.user.pk)
    context = {"connection": shown, "unchanged": _shows(request, shown.state)}
    return render(request, template, context)


def _shows(request: SignedInRequest, state: str) -> bool:
    """Whether the page that polls shows this state already, and should not say it again."""
    return bool(request.htmx) and request.GET.get("shown") == state


def _dashboard_context(user_id: int) -> dict[str, object]:
    """What the dashboard is made from. `waiting` lets the page ask again by itself."""
    try:
        parts = dashboard_data.load(user_id)
    except TokenStale:
        return {"state": "reconnecting", "waiting": True}
    except ReconnectRequired as error:
        return {"state": "reconnect_required", "reason": error.reason}
    except NotConnected:
        return {"state": "not_connected"}
    waiting = any(part.error == Unauthorized.code for part in parts.values())
    return {
        "state": "connected",
        "parts": parts,
        "waiting": waiting,
        "reconnect_by": reconnect_soon(user_id),
    }
