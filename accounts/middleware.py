"""One address for the site, the one that Spotify sends people back to; who was here lately."""

from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.sessions import middleware as sessions
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone

from accounts.models import User
from spotify_auth import tokens

SEEN_WITHIN = timedelta(days=1)


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


class SessionMiddleware(sessions.SessionMiddleware):
    """Django's, but a page that was asked for with a session of the past deletes no cookie.

    A log-in gives the browser a new session and ends the old one. A tab that polls at that
    moment comes with the old cookie, and the deletion in its answer would hit the new one:
    the person would be logged out by logging in. Logging out is a POST, and deletes it.
    """

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        answer = super().process_response(request, response)
        cookie = answer.cookies.get(settings.SESSION_COOKIE_NAME)
        if request.method == "GET" and cookie is not None and not cookie.value:
            del answer.cookies[settings.SESSION_COOKIE_NAME]
        return answer


class LastSeenMiddleware:
    """Notes once a day that a person was here, for REFRESH_DORMANT_AFTER, and wakes the token.

    Also while that is off: it may be turned on. Kept with the person and not with the token:
    a request must never wait for the row lock of a token.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user = request.user
        # What the session has loaded says whether to ask: most requests cost nothing.
        if user.is_authenticated and user.seen_at < timezone.now() - SEEN_WITHIN:
            long_ago = User.objects.filter(pk=user.pk, seen_at__lt=Now() - SEEN_WITHIN)
            if long_ago.update(seen_at=Now()):
                tokens.wake(user.pk)
        return self._get_response(request)
