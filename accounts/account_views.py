"""What users may do with what is theirs: see where they are logged in, end it, take their data."""

from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.db.models.functions import Now
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts import export, sessions
from accounts.models import LoginSession
from accounts.requests import SignedInRequest
from accounts.user_agents import in_words
from spotify_auth import connections
from spotify_auth.throttles import throttled, visits

SESSIONS_SHOWN = 20


@require_safe
@never_cache
@login_required
def session_list(request: SignedInRequest) -> HttpResponse:
    """Where the user is logged in: the sessions that were seen last, this one first."""
    here = sessions.stored_forms(request.session.session_key)
    found = LoginSession.objects.filter(user=request.user, session__expire_date__gt=Now()).order_by(
        "-seen_at", "-pk"
    )
    now = connections.database_now()
    others = found.exclude(session_id__in=here)
    shown = [*found.filter(session_id__in=here), *others[: SESSIONS_SHOWN + 1]]
    context = {
        "sessions": [
            {
                "pk": each.pk,
                "browser": in_words(each.user_agent),
                "since": each.since,
                "seen_at": each.seen_at,
                "now": now,
                "is_here": each.session_id in here,
            }
            for each in shown[:SESSIONS_SHOWN]
        ],
        "has_more": len(shown) > SESSIONS_SHOWN,
    }
    return render(request, "accounts/sessions.html", context)


@require_POST
@never_cache
@login_required
def end_session(request: SignedInRequest, pk: int) -> HttpResponse:
    """Log the user out in one browser. One that is logged out already, or another's, stays so."""
    chosen = LoginSession.objects.filter(user=request.user, pk=pk).first()
    if chosen and chosen.session_id in sessions.stored_forms(request.session.session_key):
        logout(request)
        return redirect("accounts:home")
    if chosen:
        sessions.end(chosen)
    messages.success(request, "That browser is logged out.")
    return redirect("accounts:sessions")


@require_POST
@never_cache
@login_required
def end_all_sessions(request: SignedInRequest) -> HttpResponse:
    """Log the user out everywhere, here too."""
    sessions.end_all(request.user)
    logout(request)
    return redirect("accounts:home")


@require_safe
@never_cache
@login_required
@throttled(visits)
def my_data(request: SignedInRequest) -> StreamingHttpResponse:
    """Everything that is stored about the user, as a file; docs/reference/json-api.md says what."""
    return StreamingHttpResponse(
        export.pieces(request.user),
        content_type="application/json",
        headers={"Content-Disposition": 'attachment; filename="spotify-token-keeper.json"'},
    )
