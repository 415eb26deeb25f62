"""An administrator's action on all tokens that match a filter, done in the background.

A worker goes through them in the order of their users, a transaction for each token: the action,
and how far it came, are committed together or not at all. So a worker may be killed at any
moment, and another goes on where it was; and of two at the same time the second is turned away,
or rolled back. Nobody is done twice, and nobody is left out who matches when it comes to them.
"""

import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from celery import current_app
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ALL_VAR, ERROR_FLAG, ORDER_VAR, PAGE_VAR
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.db import connection, transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, QueryDict
from kombu.exceptions import OperationalError as BrokerError

from spotify_auth import chores
from spotify_auth.admin_pages.actions import ACTIONS
from spotify_auth.models import BulkAction, SpotifyToken, UserId
from spotify_auth.text import for_the_log
from spotify_auth.verbs import Kind, Operator

logger = logging.getLogger(__name__)

TASK, CHORE = "spotify_auth.bulk_action", "spotify_auth.bulk_actions"
AT_ONCE = 500
"""Tokens that are looked up at a time; the administrator's permission is looked at as often."""
LONGEST_SECONDS = 20.0
"""After this long a worker hands it on, so that no task runs for hours."""
MOST_RUNNING = 4
"""At the same time: each holds a thread of a worker, and lanes need the others."""
ABANDONED = timedelta(seconds=60)
"""Without a step for so long, its worker is gone. A token is waited for half as long at most."""
KEPT = timedelta(days=90)
"""How long those that ended are kept: their filter may hold somebody's name."""

_COUNTERS = {Kind.DONE: "done", Kind.DOES_NOT_APPLY: "not_applicable", Kind.BUSY: "busy"}
_LOCK = "SELECT pg_try_advisory_xact_lock(hashtext('spotify_auth.bulk'), %s::int4)"


class _Overtaken(Exception):
    """It was cancelled, or another worker was faster: this one's transaction must not stay."""


def begin(
    action: str, *, query: str, administrator: AbstractBaseUser | AnonymousUser, reason: str
) -> BulkAction:
    """Note what is to be done, and let a worker begin. Raises django.db.Error.

    `query` is that of the list's address: its filters and its search.
    """
    operator = Operator.of(administrator)
    filters = QueryDict(query, mutable=True)
    for page in (PAGE_VAR, ALL_VAR, ORDER_VAR, ERROR_FLAG):
        filters.pop(page, None)
    with transaction.atomic():
        bulk = BulkAction.objects.create(
            action=action,
            query=filters.urlencode(),
            administrator=str(administrator.pk),
            by=operator.name,
            reason=reason,
        )
        operator.note(f"Began: {reason}", about=bulk)
        transaction.on_commit(partial(_send, bulk.pk))
    logger.info("bulk_begun pk=%s action=%s asked_by=%s", bulk.pk, action, for_the_log(bulk.by))
    return bulk


def has_place() -> bool:
    """Whether another one may begin now. Raises django.db.Error."""
    return BulkAction.objects.filter(state=BulkAction.State.RUNNING).count() < MOST_RUNNING


def cancel(pk: int, *, administrator: AbstractBaseUser | AnonymousUser) -> bool:
    """Let it end after the token in hand; False if it is over. Raises django.db.Error."""
    operator = Operator.of(administrator)
    with transaction.atomic():
        if not _end(pk, BulkAction.State.CANCELLED, note=f"Cancelled by {operator.name}."):
            return False
        operator.note("Cancelled", about=BulkAction.objects.get(pk=pk))
    return True


def run(pk: int) -> None:
    """Go on with it for a while, and hand it on. Raises django.db.Error."""
    give_up = time.monotonic() + LONGEST_SECONDS
    while _batch(pk, give_up=give_up):
        if _must_end(give_up):
            _send(pk)
            return


def send_abandoned() -> None:
    """Let workers go on with those whose worker is gone. Raises django.db.Error."""
    abandoned = BulkAction.objects.filter(
        state=BulkAction.State.RUNNING, moved_at__lt=Now() - ABANDONED
    )
    for pk in abandoned.values_list("pk", flat=True):
        _send(pk)


def forget_old() -> None:
    """Delete those that ended long ago; what was done to tokens stays in their history."""
    ended = BulkAction.objects.exclude(state=BulkAction.State.RUNNING)
    ended.filter(moved_at__lt=Now() - KEPT).delete()


def matching(bulk: BulkAction, administrator: Any) -> QuerySet[SpotifyToken]:
    """The tokens that the list shows to this administrator with these filters, without order."""
    request = HttpRequest()
    request.method = "GET"
    request.GET = QueryDict(bulk.query)
    request.user = administrator
    pages = admin.site.get_model_admin(SpotifyToken)
    rows: QuerySet[SpotifyToken] = pages.get_changelist_instance(request).get_queryset(request)
    return rows.order_by()


def _batch(pk: int, *, give_up: float) -> bool:
    """Do the next tokens; whether it goes on."""
    bulk = BulkAction.objects.get(pk=pk)
    if bulk.state != BulkAction.State.RUNNING:
        return False
    administrator = _administrator(bulk)
    if administrator is None:
        _end(pk, BulkAction.State.STOPPED, note=f"{bulk.by} may not do this any more.")
        return False
    try:
        rows = matching(bulk, administrator)
    except IncorrectLookupParameters:
        _end(pk, BulkAction.State.STOPPED, note="The list does not know this filter any more.")
        return False
    if bulk.matched is None:
        BulkAction.objects.filter(pk=pk).update(matched=rows.count(), moved_at=Now())
    following = _next(rows, after=bulk.cursor)
    if not following:
        _end(pk, BulkAction.State.DONE)
        return False
    for user_id in following:
        if _must_end(give_up):
            return True
        if not _do(bulk, user_id):
            return False
    return True


def _next(rows: QuerySet[SpotifyToken], *, after: str) -> Sequence[UserId]:
    if after:
        rows = rows.filter(pk__gt=SpotifyToken._meta.pk.to_python(after))
    return list(rows.order_by("pk").values_list("pk", flat=True)[:AT_ONCE])


def _do(bulk: BulkAction, user_id: UserId) -> bool:
    """Act on one token, and note it; False if somebody else has taken over."""
    action = ACTIONS[bulk.action]
    operator = Operator(name=bulk.by, user_id=_key_of(bulk))
    try:
        with transaction.atomic():
            if not _lock(bulk.pk):
                return False
            result = action.verb(user_id, operator=operator, reason=bulk.reason)
            counter = _COUNTERS[result.kind]
            moved = BulkAction.objects.filter(
                pk=bulk.pk, state=BulkAction.State.RUNNING, cursor=bulk.cursor
            ).update(**{"cursor": str(user_id), "moved_at": Now(), counter: F(counter) + 1})
            if not moved:
                raise _Overtaken
    except _Overtaken:
        return False
    bulk.cursor = str(user_id)
    return True


def _lock(pk: int) -> bool:
    """Keep a second worker away for the transaction; False if there is one already."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, [pk])
        return bool(cursor.fetchone()[0])


def _administrator(bulk: BulkAction) -> Any:
    """Who began it, if they may still do it; None otherwise."""
    user: Any = get_user_model()._base_manager.filter(pk=_key_of(bulk)).first()
    staff = user and user.is_active and user.is_staff
    # Without the first of the two the list itself, and all that can be done on it, is closed.
    sees = staff and user.has_perm("spotify_auth.view_spotifytoken")
    return user if sees and ACTIONS[bulk.action].is_allowed(user) else None


def _key_of(bulk: BulkAction) -> UserId:
    key: UserId = get_user_model()._meta.pk.to_python(bulk.administrator)
    return key


def _end(pk: int, state: BulkAction.State, *, note: str = "") -> bool:
    running = BulkAction.objects.filter(pk=pk, state=BulkAction.State.RUNNING)
    ended = bool(running.update(state=state, note=note, moved_at=Now()))
    if ended:
        logger.info("bulk_ended pk=%s state=%s", pk, state)
    return ended


def _must_end(give_up: float) -> bool:
    return chores.stopping.is_set() or time.monotonic() > give_up


def _send(pk: int) -> None:
    try:
        current_app.send_task(TASK, args=[pk], retry=False)
    except BrokerError as error:  # a sweep finds it
        logger.warning("bulk_not_sent pk=%s reason=%s", pk, type(error).__name__)
