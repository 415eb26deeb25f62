"""One address for the site, sessions that polling does not end, and when users were seen."""

from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.sessions import middleware as sessions
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from accounts.models import User
from spotify_auth import middleware as last_seen
from spotify_auth.models import UserId


class LoopbackAddressMiddleware:
    """Sends visitors of "localhost" to the IP address that the redirect URI names.

    Spotify refuses "localhost", and cookies are per host: a login begun there would
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

    A login gives the browser a new session and ends the old one. A tab that polls at that
    moment comes with the old cookie, and the deletion in its answer would hit the new one:
    the user would be logged out by logging in. Logging out is a POST, and deletes it.
    """

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        answer = super().process_response(request, response)
        cookie = answer.cookies.get(settings.SESSION_COOKIE_NAME)
        if request.method == "GET" and cookie is not None and not cookie.value:
            del answer.cookies[settings.SESSION_COOKIE_NAME]
        return answer


class LastSeenMiddleware(last_seen.LastSeenMiddleware):
    """Notes a visit in `User.seen_at` too, where workers of the previous version look.

    For this release: the next one drops the column, and uses spotify_auth's middleware as it
    is. In the other direction a trigger (migration 0004) copies what the previous version
    notes.
    """

    def note(self, user_id: UserId) -> float:
        """Write that a user was here, in both places."""
        due_in = super().note(user_id)
        long_ago = Now() - timedelta(seconds=last_seen.SEEN_AGAIN_SECONDS)
        User.objects.filter(pk=user_id, seen_at__lt=long_ago).update(seen_at=Now())
        return due_in
