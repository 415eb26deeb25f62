"""What programs get: the dashboard as JSON."""

from dataclasses import asdict

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.utils.cache import get_conditional_response, set_response_etag
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts import dashboard
from accounts.connection_page import reconnect_soon
from accounts.dashboard import Part
from spotify_auth.problems import NOT_LOGGED_IN, problem_of
from spotify_auth.throttles import dashboards, throttled, visits
from spotify_auth.tokens import TokenUnavailable
from spotify_auth.web_api import reading


@require_safe
@never_cache
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
    set_response_etag(response)
    return get_conditional_response(request, etag=response["ETag"], response=response) or response


def _as_json(part: Part) -> dict[str, object]:
    shown: dict[str, object] = {"state": part.state, "items": [asdict(item) for item in part.items]}
    if part.error:
        shown["code"] = part.error
    if part.retry_after is not None:
        shown["retry_after"] = part.retry_after
    return shown
