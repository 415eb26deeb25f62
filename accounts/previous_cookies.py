"""Cookies under the names that they had before they were prefixed, for this release.

An upgrade logs nobody out. Whoever comes with the cookies of the previous version is known, and
gets them under the new names; and both names are given, so that processes of the previous
version, which run beside this one during the upgrade, know the same users and take the same
forms. A cookie under its new name always counts more, and a session that began under the new name
is not taken under the old one, which other hosts can plant. The next release drops this module.
"""

from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from accounts.middleware import give_session_cookie, opens_a_page
from accounts.sessions import SessionStore

_SESSION, _CSRF = "sessionid", "csrftoken"
_BEGAN_UNDER_THE_NEW_NAME = "prefixed"


class PreviousCookieNamesMiddleware:
    """Takes and gives the cookies of session and forms under both names.

    It belongs above the middleware of sessions and forms. Without https there is one name.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        previous = _previous_names()
        came = {
            name: request.COOKIES[old]
            for name, old in previous.items()
            if name not in request.COOKIES and old in request.COOKIES
        }
        session_key = came.get(settings.SESSION_COOKIE_NAME)
        if session_key and SessionStore(session_key).get(_BEGAN_UNDER_THE_NEW_NAME):
            del came[settings.SESSION_COOKIE_NAME]
        request.COOKIES.update(came)
        response = self._get_response(request)
        if settings.SESSION_COOKIE_NAME in came:
            _move_session(request, response)
        for name, old in previous.items():
            if name in response.cookies:
                response.cookies[old] = response.cookies[name].value
                response.cookies[old].update(response.cookies[name])
        return response


def _previous_names() -> Mapping[str, str]:
    """The former name of each cookie that has another one now."""
    names = {settings.SESSION_COOKIE_NAME: _SESSION, settings.CSRF_COOKIE_NAME: _CSRF}
    return {name: old for name, old in names.items() if name != old}


def _move_session(request: HttpRequest, response: HttpResponse) -> None:
    """Give a session that is alive its new name; not to a poll, which could overtake a login."""
    session = request.session
    if not isinstance(session, SessionStore) or session.ends_at is None:
        return
    if settings.SESSION_COOKIE_NAME not in response.cookies and opens_a_page(request):
        give_session_cookie(session, response)


def note_the_name(request: HttpRequest | None, **kwargs: Any) -> None:
    """Remember in a session that begins with a login that its cookie has the new name."""
    if request is not None and settings.SESSION_COOKIE_NAME != _SESSION:
        request.session[_BEGAN_UNDER_THE_NEW_NAME] = True
