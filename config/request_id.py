"""The id of a request: in its lines of the log, in its answer, on its error page."""

from collections.abc import Callable
from uuid import uuid4

from django.http import HttpRequest, HttpResponse

from config import log_context
from spotify_auth.client_address import is_from_our_proxy

HEADER = "X-Request-ID"


class RequestIdMiddleware:
    """Outermost: takes a proxy's `X-Request-ID`, or makes one, as `request.id`.

    A header counts only from whom TRUSTED_PROXIES names, and only in a harmless form: everybody
    else could give a hundred requests one id, or write what they like into the log.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        sent = request.headers.get(HEADER)
        trusted = log_context.is_request_id(sent) and is_from_our_proxy(request)
        request_id = sent if sent and trusted else uuid4().hex
        request.id = request_id  # type: ignore[attr-defined]
        # Until the thread's next request: Django and the web server write lines after this.
        log_context.begin(request_id=request_id)
        response = self._get_response(request)
        response.headers[HEADER] = request_id
        return response
