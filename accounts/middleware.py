"""One address for the site, sessions that polling does not end, when and where users were seen."""

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.sessions import middleware as sessions
from django.contrib.sessions.backends.base import SessionBase
from django.db import Error
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.functional import empty

from accounts.models import User
from accounts.sessions import SessionStore
from spotify_auth import htmx
from spotify_auth import middleware as last_seen
from spotify_auth.database_faults import leave_standby
from spotify_auth.middleware import AFTER_A_FAILURE_SECONDS
from spotify_auth.models import UserId
from spotify_auth.text import storable

logger = logging.getLogger(__name__)


class OneAddressMiddleware:
    """Sends visitors of every other served host to the host that the redirect URI names.

    Cookies are per host: a login begun on another one (www and the bare name, "localhost")
    would find its cookie missing on the way back from Spotify. A form is not redirected: no
    page with one is shown on another host.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        site = urlsplit(settings.SPOTIFY_REDIRECT_URI)
        # Without the port: cookies do not know it, and a proxy may listen on another.
        name = urlsplit(f"//{request.get_host()}").hostname
        if name != site.hostname and request.method in {"GET", "HEAD"}:
            return HttpResponseRedirect(f"{site.scheme}://{site.netloc}{request.get_full_path()}")
        return self._get_response(request)


class SessionMiddleware(sessions.SessionMiddleware):
    """Django's, but a page that was asked for with a session of the past deletes no cookie.

    A login gives the browser a new session and ends the old one. A tab that polls at that
    moment comes with the old cookie, and the deletion in its answer would hit the new one:
    the user would be logged out by logging in. Logging out is a POST, and deletes it.

    A page that the user opens prolongs the session and its cookie, once a day: whoever comes
    daily stays logged in. A database that refuses it costs a line in the log. A part of a page
    prolongs nothing: its cookie could arrive after that of a login in another tab.

    Once an hour it notes whose session it is and in which browser, for the list of sessions.
    """

    _paused_until = 0.0
    """By the monotonic clock: after a failure this process notes nothing for a minute."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        answer = super().process_response(request, response)
        cookie = answer.cookies.get(settings.SESSION_COOKIE_NAME)
        if request.method == "GET" and cookie is not None and not cookie.value:
            del answer.cookies[settings.SESSION_COOKIE_NAME]
        elif cookie is not None and not cookie.value:
            # Logged out: what this browser kept of the user's pages goes too.
            answer["Clear-Site-Data"] = '"cache"'
        if cookie is None and answer.status_code < 500 and opens_a_page(request):
            _prolong(request.session, answer)
        self._note(request)
        return answer

    def _note(self, request: HttpRequest) -> None:
        """Write whose session it is and where it was seen, once an hour."""
        user = getattr(request, "user", None)
        # Loading the user here would cost queries, and make the response vary by cookie.
        if getattr(user, "_wrapped", None) is empty or not isinstance(user, User):
            return
        now = time.monotonic()
        if now < self._paused_until or not isinstance(request.session, SessionStore):
            return
        user_agent = storable(request.headers.get("User-Agent", ""))[:255]
        try:
            request.session.note(user_id=user.pk, user_agent=user_agent)
        except Error as error:
            leave_standby(error)
            self._paused_until = now + AFTER_A_FAILURE_SECONDS
            logger.warning("session_not_noted reason=%s", type(error).__name__)


def opens_a_page(request: HttpRequest) -> bool:
    """Whether a user opens a page, and no script asks for a part of one."""
    # Browsers without the header are few: they are believed.
    mode = request.headers.get("Sec-Fetch-Mode", "navigate")
    return request.method == "GET" and mode == "navigate" and not htmx.is_htmx(request)


def _prolong(session: SessionBase, answer: HttpResponse) -> None:
    try:
        if not isinstance(session, SessionStore) or not session.prolong():
            return
    except Error as error:
        leave_standby(error)
        logger.warning("session_not_prolonged reason=%s", type(error).__name__)
        return
    give_session_cookie(session, answer)


def give_session_cookie(session: SessionBase, answer: HttpResponse) -> None:
    """Let the browser keep its session from now on for as long as the session may last."""
    answer.set_cookie(
        settings.SESSION_COOKIE_NAME,
        session.session_key or "",
        max_age=session.get_expiry_age(),
        domain=settings.SESSION_COOKIE_DOMAIN,
        path=settings.SESSION_COOKIE_PATH,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=settings.SESSION_COOKIE_HTTPONLY,
        samesite=settings.SESSION_COOKIE_SAMESITE,
    )


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
