"""One address for the site: the one that Spotify sends people back to."""

from collections.abc import Callable
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect


class LoopbackAddressMiddleware:
    """Sends visitors of "localhost" to the IP address that the redirect URI names.

    Spotify refuses "localhost", and cookies are per host: a log-in begun there would
    find its cookie missing on the way back to 127.0.0.1.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        site = urlsplit(settings.SPOTIFY_REDIRECT_URI)
        name = request.get_host().partition(":")[0]
        if name == "localhost" != site.hostname and request.method == "GET":
            return HttpResponseRedirect(f"{site.scheme}://{site.netloc}{request.get_full_path()}")
        return self._get_response(request)
