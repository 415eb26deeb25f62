"""Headers that every answer has, whoever made it: a page, an error page, a static file."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.cache import add_never_cache_headers
from django.utils.functional import empty

_NO_FEATURE_OF = (
    *("accelerometer", "camera", "display-capture", "geolocation", "gyroscope", "hid"),
    *("magnetometer", "microphone", "midi", "payment", "serial", "usb", "xr-spatial-tracking"),
)
PERMISSIONS_POLICY = ", ".join(f"{feature}=()" for feature in _NO_FEATURE_OF)
"""What no page here asks a browser for. A page that plays music needs none of these."""


class HeadersMiddleware:
    """Outermost: the answers of all other middleware pass through it.

    Nothing that was made for a user is kept by a browser, or by anything on the way to it.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.content_params and _charset_of(request) not in {"utf-8", "utf8"}:
            # Django raises in the midst of a form, and once more in the page that would say so.
            response = HttpResponse("Forms are UTF-8 here.\n", "text/plain", status=415)
        else:
            response = self._get_response(request)
        response.headers.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        if _knows_its_user(request):
            add_never_cache_headers(response)
        return response


def _charset_of(request: HttpRequest) -> str:
    return (request.content_params or {}).get("charset", "utf-8").lower()


def _knows_its_user(request: HttpRequest) -> bool:
    """Whether a user is logged in, and something looked who it is."""
    user = getattr(request, "user", None)
    # Loading the user here would cost queries, and make the response vary by cookie.
    return getattr(user, "_wrapped", None) is not empty and bool(user and user.is_authenticated)
