"""The access token for a page that plays music: Spotify's Web Playback SDK needs it.

The one place where a token leaves the server. It is the access token and never the
refresh token, it goes to this site's own pages only, and only to a user who granted
`streaming`, without which the player would not work anyway.
"""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from spotify_auth.problems import NOT_LOGGED_IN, NOT_SAME_ORIGIN, missing_scopes, problem_of
from spotify_auth.secrecy import forgets_variables
from spotify_auth.throttles import throttled, tokens, visits
from spotify_auth.tokens import TokenUnavailable
from spotify_auth.web_api import reading

SCOPE = "streaming"


@require_POST
@never_cache
@forgets_variables
@throttled(tokens, visits, as_json=True)
def browser_token(request: HttpRequest) -> HttpResponse:
    """Answer with the access token and its expiry, or with a problem in JSON."""
    if not _is_same_origin(request):
        return NOT_SAME_ORIGIN.as_json()
    if not request.user.is_authenticated:
        return NOT_LOGGED_IN.as_json()
    try:
        token = reading.read(request.user, requested_by=reading.page_of(request))
    except TokenUnavailable as error:
        return problem_of(error).as_json()
    if SCOPE not in token.scopes:
        return missing_scopes({SCOPE}).as_json()
    return JsonResponse({"access_token": token.value, "expires_at": token.expires_at})


def _is_same_origin(request: HttpRequest) -> bool:
    """Whether the browser says that one of our own pages asks.

    Django's protection against forged requests comes before this; here also the origins
    that CSRF_TRUSTED_ORIGINS may name, and requests that say nothing, are left out.
    """
    origin = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site")
    own = f"{request.scheme}://{request.get_host()}"
    return {origin, site} != {None} and origin in {None, own} and site in {None, "same-origin"}
