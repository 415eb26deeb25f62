"""What a request is answered when the database refuses it: 503, and words."""

import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.template import TemplateDoesNotExist
from django.template.loader import render_to_string
from django.utils.cache import add_never_cache_headers
from django.views import defaults

from spotify_auth import htmx, pages
from spotify_auth.both_ways import BothWays
from spotify_auth.database_faults import Fault, fault_of, leave_standby
from spotify_auth.problems import Problem

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Words:
    title: str
    text: str
    retry_seconds: int


_WORDS: Mapping[Fault, _Words] = {
    Fault.AWAY: _Words(
        title="This site cannot answer just now",
        text="Our database does not answer. Your connection to Spotify is kept. "
        "Please try again in a minute.",
        retry_seconds=10,
    ),
    Fault.READ_ONLY: _Words(
        title="Nothing can be changed just now",
        text="Our database takes no changes at the moment, so nothing was changed, and nobody can "
        "log in. Your connection to Spotify is kept. Please try again in a few minutes.",
        retry_seconds=60,
    ),
    Fault.BUSY: _Words(
        title="That did not work just now",
        text="The same data was in use at this very moment, so nothing was changed. "
        "Please try once more.",
        retry_seconds=1,
    ),
}


def answer_to(request: HttpRequest, error: BaseException | None) -> HttpResponse | None:
    """503 with words, without a query; None if the error is no fault of the database.

    JSON for programs: for everybody who does not ask for HTML.
    """
    fault = fault_of(error)
    if error is None or fault is None:
        return None
    leave_standby(error)
    reason = type(error.__cause__ or error).__name__
    logger.error("database_fault fault=%s reason=%s", fault, reason)
    words, status = _WORDS[fault], HTTPStatus.SERVICE_UNAVAILABLE
    if "html" not in request.headers.get("Accept", "") and not htmx.is_htmx(request):
        return Problem(
            code=fault, status=status, message=words.text, retry_after=words.retry_seconds
        ).as_json()
    context = {
        "problem": words,
        "try_again": request.method == "GET",
        "request_id": _id_of(request),
    }
    page = pages.text_of("database_fault.html", context)
    response = HttpResponse(page, status=status, headers={"Retry-After": str(words.retry_seconds)})
    add_never_cache_headers(response)
    return response


class DatabaseFaultMiddleware(BothWays):
    """Answers a request that the database refused with 503 and words, instead of a 500."""

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer for a view, and for its template."""
        return answer_to(request, error)


def server_error(request: HttpRequest) -> HttpResponse:
    """The project's `handler500`: the same for what no view raises (sessions, error pages)."""
    return answer_to(request, sys.exc_info()[1]) or _went_wrong(request)


def _went_wrong(request: HttpRequest) -> HttpResponse:
    """Django's, with the id of the request on the page."""
    try:
        page = render_to_string("500.html", {"request_id": _id_of(request)})
    except TemplateDoesNotExist:
        return defaults.server_error(request)
    return HttpResponse(page, status=HTTPStatus.INTERNAL_SERVER_ERROR)


def _id_of(request: HttpRequest) -> str:
    """By which support finds the lines of this request, if a middleware gave it one."""
    return str(getattr(request, "id", ""))
