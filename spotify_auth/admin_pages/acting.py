"""Acting on tokens: a question with a reason first, then one after the other.

A page acts on a few by itself, since each may wait for its lock. More, and all that match a
filter, are done in the background (`bulk`).
"""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from spotify_auth import bulk
from spotify_auth.admin_pages import people
from spotify_auth.admin_pages.actions import ACTIONS, Action
from spotify_auth.models import SpotifyToken, TokenEvent, UserId
from spotify_auth.text import one_line
from spotify_auth.verbs import Kind, Operator

MOST_AT_ONCE = 200
"""Tokens that one page acts on: each may wait for its lock, and the page for all of them."""
SHOWN = 20
"""Users whom the confirmation names."""

_LEVELS = {
    Kind.DONE: messages.SUCCESS,
    Kind.DOES_NOT_APPLY: messages.WARNING,
    Kind.BUSY: messages.ERROR,
}

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[SpotifyToken]
else:
    _ModelAdmin = object


class ReasonForm(forms.Form):
    """Why an administrator acts, for the history of the token and of the admin."""

    reason = forms.CharField(
        max_length=TokenEvent._meta.get_field("reason").max_length,
        help_text="For the history, which other administrators read, and the user in an export: "
        "a ticket, for example.",
        error_messages={"required": "Say why: the history keeps it with your name."},
        widget=forms.TextInput(
            attrs={"class": "vTextField", "autofocus": True, "autocomplete": "off"}
        ),
    )

    def clean_reason(self) -> str:
        """One line of visible text."""
        reason = one_line(self.cleaned_data["reason"])
        if not reason:
            raise forms.ValidationError(self.fields["reason"].error_messages["required"])
        return reason


class TokenActions(_ModelAdmin):
    """The actions of a `ModelAdmin` of tokens."""

    def get_actions(self, request: HttpRequest) -> Any:
        """Those that this administrator may do."""
        return {
            action.name: (partial(_ask, action), action.name, action.label)
            for action in ACTIONS.values()
            if action.is_allowed(request.user)
        }

    def actions_on(self, token: SpotifyToken, request: HttpRequest) -> list[Action]:
        """Those that this administrator may do to one token, as it is."""
        return [
            action
            for action in ACTIONS.values()
            if action.works_on(token) and action.is_allowed(request.user)
        ]

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """With a button for each on the page of a token."""
        context |= {"actions": self.actions_on(context["original"], request)}
        return super().render_change_form(request, context, *args, **kwargs)


def _ask(
    action: Action, pages: TokenActions, request: HttpRequest, queryset: QuerySet[SpotifyToken]
) -> HttpResponse | None:
    """Ask why, on a page of its own, and then act."""
    # One more than a page takes, and no count: "select all" may mean a million.
    chosen = list(queryset.values_list("user_id", flat=True)[: MOST_AT_ONCE + 1])
    in_bulk = len(chosen) > MOST_AT_ONCE
    if not in_bulk:
        _say_who_is_gone(pages, request, len(chosen))
    if not chosen:
        return _back(request)
    if in_bulk and request.POST.get("select_across") != "1":
        said = f"A page acts on {MOST_AT_ONCE} tokens at most: tick fewer, or all that match."
        pages.message_user(request, said, messages.ERROR)
        return None
    form = ReasonForm(request.POST if request.POST.get("confirmed") == "yes" else None)
    if form.is_valid():
        reason = form.cleaned_data["reason"]
        if in_bulk and bulk.has_place():
            return _begin(action, request, reason)
        if in_bulk:
            said = f"{bulk.MOST_RUNNING} actions are under way: wait for one, or cancel one."
            pages.message_user(request, said, messages.ERROR)
            return None
        _act(action, pages, request, chosen, reason)
        return _back(request)
    context = {
        **pages.admin_site.each_context(request),
        "title": action.title,
        "action": action,
        "form": form,
        "tokens": queryset.filter(pk__in=chosen[: 5 if in_bulk else SHOWN]),
        "chosen": chosen,
        "not_shown": max(0, len(chosen) - SHOWN),
        "in_bulk": in_bulk,
        "most": MOST_AT_ONCE,
        "search_is_cut": people.search_is_cut(request),
        "most_found": people.MOST_FOUND,
        "filters": request.GET.urlencode(),
        "back": request.POST.get("back", ""),
        "opts": pages.opts,
        "media": pages.media,
    }
    return TemplateResponse(request, "admin/spotify_auth/confirm_action.html", context)


def _say_who_is_gone(pages: TokenActions, request: HttpRequest, found: int) -> None:
    """Ticked rows that the filter of the list does not show any more are not acted on."""
    ticked = len(set(request.POST.getlist(ACTION_CHECKBOX_NAME)))
    if request.POST.get("select_across") == "1" or found == ticked:
        if not found:
            pages.message_user(request, "No token matches any more.", messages.WARNING)
        return
    gone = f"{ticked - found} of {ticked} tokens that were chosen"
    said = f"Nothing is done with {gone}: the list does not show them any more."
    pages.message_user(request, said, messages.WARNING)


def _begin(action: Action, request: HttpRequest, reason: str) -> HttpResponse:
    begun = bulk.begin(
        action.name, query=request.GET.urlencode(), administrator=request.user, reason=reason
    )
    return HttpResponseRedirect(reverse("admin:spotify_auth_bulkaction_change", args=[begun.pk]))


def _act(
    action: Action,
    pages: TokenActions,
    request: HttpRequest,
    chosen: Sequence[UserId],
    reason: str,
) -> None:
    operator = Operator.of(request.user)
    results = Counter(action.verb(pk, operator=operator, reason=reason) for pk in chosen)
    for result, count in results.items():
        number = f"{count} token{'' if count == 1 else 's'}"
        said = f"{action.label.split(' (')[0]}, {number}: {result.sentence}"
        pages.message_user(request, said, _LEVELS[result.kind])


def _back(request: HttpRequest) -> HttpResponse | None:
    """To the page of the token from which the action was begun; None: to the list."""
    if not (pk := request.POST.get("back")):
        return None
    return HttpResponseRedirect(reverse("admin:spotify_auth_spotifytoken_change", args=[pk]))
