"""Cookies under the names that they had before they were prefixed, for this release.

An upgrade logs nobody out. Whoever comes with the cookies of the previous version is known, and
gets them under the new names; and both names are given, so that processes of the previous
version, which run beside this one during the upgrade, know the same users and take the same
forms. A cookie under its new name always counts more. The next release drops this module: what
a stranger could plant under an old name (their own session, on somebody who is not logged in)
is then no longer looked at.
"""

from collections.abc import Callable, Mapping

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from accounts.middleware import give_session_cookie, opens_a_page
from accounts.sessions import SessionStore


class PreviousCookieNamesMiddleware:
    """Takes and gives the cookies of session and forms under both names.

    It belongs above the middleware of sessions and forms. Without https there is one name.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        previous = _previous_names()
        taken = [
            name
            for name, old in previous.items()
            if name not in request.COOKIES and old in request.COOKIES
        ]
        for name in taken:
            request.COOKIES[name] = request.COOKIES[previous[name]]
        response = self._get_response(request)
        if settings.SESSION_COOKIE_NAME in taken:
            _move_session(request, response)
        for name, old in previous.items():
            if name in response.cookies:
                response.cookies[old] = response.cookies[name].value
                response.cookies[old].update(response.cookies[name])
        return response


def _previous_names() -> Mapping[str, str]:
    """The former name of each cookie that has another one now."""
    names = {settings.SESSION_COOKIE_NAME: "sessionid", settings.CSRF_COOKIE_NAME: "csrftoken"}
    return {name: old for name, old in names.items() if name != old}


def _move_session(request: HttpRequest, response: HttpResponse) -> None:
    """Give a session that is alive its new name; not to a poll, which could overtake a login."""
    session = request.session
    if not isinstance(session, SessionStore) or session.ends_at is None:
        return
    if settings.SESSION_COOKIE_NAME not in response.cookies and opens_a_page(request):
        give_session_cookie(session, response)
