"""The pages a user sees."""

from functools import partial
from http import HTTPStatus

from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import HttpResponseClientRedirect

from accounts import dashboard as dashboard_data
from accounts import deletion, staff_rules
from accounts.connection_page import (
    MAY_RECONNECT,
    connection_of,
    content_version,
    delay_reason_of,
    reconnect_soon,
)
from accounts.forms import ReminderForm
from accounts.requests import SignedInRequest
from spotify_auth.database_faults import Fault, fault_of
from spotify_auth.problems import RETRY_SECONDS
from spotify_auth.throttles import dashboards, throttled, visits
from spotify_auth.tokens import NotConnected, ReconnectRequired, RefreshPaused, TokenStale
from spotify_auth.web_api import NotAllowed, RateLimited, Unauthorized, Unavailable

TROUBLE_SECONDS = 10
"""When to ask again while Spotify answers nothing of what a page needs."""
_OF_ALL_PARTS = {NotAllowed.code, RateLimited.code, Unavailable.code}
"""Errors that the page says once, when all of its parts have the same."""


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """What this is, and the login button."""
    if "HX-Request" in request.headers:
        # A page that polls was sent here since its session has ended: let all of it go
        # to log in, instead of taking this page into itself.
        return HttpResponseClientRedirect(request.get_full_path())
    return render(request, "accounts/home.html", {"next": request.GET.get("next", "")})


@require_safe
@never_cache
@login_required
@throttled(dashboards, visits)
def dashboard(request: SignedInRequest) -> HttpResponse:
    """The user's music, or why it cannot be shown; htmx asks for the content alone."""
    template = "accounts/_dashboard.html" if request.htmx else "accounts/dashboard.html"
    context = _dashboard_context(request.user.pk)
    if "ask_again" in context and _shows(request, context["content_version"]):
        return HttpResponse(status=HTTPStatus.NO_CONTENT)  # htmx leaves the page as it is
    return render(request, template, context)


@require_safe
@never_cache
@login_required
def connection(request: SignedInRequest) -> HttpResponse:
    """The state of the user's token; htmx asks for the content alone, every 2 s."""
    return _connection_page(request, reminder=ReminderForm(instance=request.user))


def _connection_page(
    request: SignedInRequest, *, reminder: ReminderForm, status: int = HTTPStatus.OK
) -> HttpResponse:
    template = "accounts/_connection.html" if request.htmx else "accounts/connection.html"
    found = connection_of(request.user.pk)
    context = {
        "connection": found,
        "unchanged": _shows(request, found.content_version),
        "reminder": reminder,
        "may_delete": partial(staff_rules.may_delete_account, request.user),
    }
    return render(request, template, context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@login_required
def delete_account(request: SignedInRequest) -> HttpResponse:
    """Say what deleting the account means, and do it when the user confirms."""
    if not staff_rules.may_delete_account(request.user):
        raise PermissionDenied
    if request.method != "POST":
        return render(request, "accounts/delete_account.html")
    try:
        deletion.delete_account(request.user)
    except OperationalError as error:
        if fault_of(error) is not Fault.BUSY:
            raise
        context = {"busy": True}
        return render(request, "accounts/delete_account.html", context, status=503)
    logout(request)
    return redirect("accounts:home")


@require_POST
@login_required
def reminder(request: SignedInRequest) -> HttpResponse:
    """Note where to remind the user; a blank address is none."""
    form = ReminderForm(request.POST, instance=request.user)
    if form.is_valid():
        email = form.save().email
        messages.success(
            request,
            f"Saved: reminders go to {email}." if email else "Saved: no reminders are sent.",
        )
        return redirect("accounts:connection")
    request.user.refresh_from_db()
    return _connection_page(request, reminder=form, status=HTTPStatus.BAD_REQUEST)


def _shows(request: SignedInRequest, version: object) -> bool:
    """Whether the page that polls shows this version already."""
    return bool(request.htmx) and request.GET.get("shown") == version


def _dashboard_context(user_id: int) -> dict[str, object]:
    """What the dashboard is made from.

    `ask_again` is in how many seconds the page asks by itself, if it does; the browser then
    sends `content_version` back, so that an unchanged page is not announced again.
    """
    try:
        parts = dashboard_data.load(user_id, requested_by="accounts:dashboard")
    except TokenStale:
        delay_reason = delay_reason_of(user_id)
        return {
            "state": "reconnecting",
            "delay_reason": delay_reason,
            "may_reconnect": delay_reason in MAY_RECONNECT,
            "content_version": content_version("reconnecting", delay_reason),
            "ask_again": RETRY_SECONDS,
        }
    except ReconnectRequired as error:
        return {"state": "reconnect_required", "reason": error.reason}
    except RefreshPaused:
        return {"state": "paused", "content_version": "paused", "ask_again": TROUBLE_SECONDS}
    except NotConnected:
        return {"state": "not_connected"}
    context: dict[str, object] = {
        "state": "connected",
        "parts": parts,
        "reconnect_by": reconnect_soon(user_id),
    }
    errors = {part.error for part in parts.values()}
    if Unauthorized.code in errors:
        # Never the same twice: the parts that are there are shown with the rest.
        return {**context, "content_version": "", "ask_again": RETRY_SECONDS}
    if len(errors) == 1 and errors <= _OF_ALL_PARTS:
        (code,) = errors
        context["delay_reason"] = code
        # Some parts may be asked for sooner: all of them are back after the longest wait.
        context["wait"] = max(parts.values(), key=lambda part: part.retry_after or 0).wait
        if code != NotAllowed.code:  # that takes an operator
            context |= {"content_version": code, "ask_again": TROUBLE_SECONDS}
    return context
