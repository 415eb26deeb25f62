"""What programs get: the dashboard as JSON."""

from dataclasses import asdict

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils.cache import get_conditional_response, patch_cache_control, set_response_etag
from django.views.decorators.http import require_safe

from accounts import dashboard
from accounts.connection_page import reconnect_soon
from accounts.dashboard import Part
from spotify_auth.problems import NOT_LOGGED_IN, problem_of
from spotify_auth.throttles import dashboards, throttled, visits
from spotify_auth.tokens import TokenUnavailable
from spotify_auth.web_api import reading

MAX_AGE = 10
"""Seconds for which a browser may show an answer again, in all of its tabs."""


@require_safe
@throttled(dashboards, visits, as_json=True)
def dashboard_data(request: HttpRequest) -> HttpResponseBase:
    """Everything that the dashboard shows; docs/reference/json-api.md describes it."""
    if not request.user.is_authenticated:
        return NOT_LOGGED_IN.as_json()
    try:
        parts = dashboard.load(request.user, requested_by=reading.page_of(request))
    except TokenUnavailable as error:
        return problem_of(error).as_json()
    soon = reconnect_soon(request.user.pk)
    response = JsonResponse(
        {
            "parts": {name: _as_json(part) for name, part in parts.items()},
            "reconnect_by": soon.at if soon else None,
        }
    )
    return _cached_for_a_moment(request, response, whole=not any(p.error for p in parts.values()))


def _as_json(part: Part) -> dict[str, object]:
    shown: dict[str, object] = {"state": part.state, "items": [asdict(item) for item in part.items]}
    if part.error:
        shown["code"] = part.error
    if part.retry_after is not None:
        shown["retry_after"] = part.retry_after
    return shown


def _cached_for_a_moment(
    request: HttpRequest, response: HttpResponse, *, whole: bool
) -> HttpResponseBase:
    """Let the user's own browser keep it; an incomplete answer is asked for again."""
    if whole:
        patch_cache_control(response, private=True, max_age=MAX_AGE)
    else:
        patch_cache_control(response, private=True, no_cache=True)
    # Another user of the same browser has another cookie: sessions add "Vary: Cookie".
    set_response_etag(response)
    return get_conditional_response(request, etag=response["ETag"], response=response) or response
