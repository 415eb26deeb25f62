"""spotipy's DjangoSessionCacheHandler: a `token_info` in each session of a user."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any

from django.conf import settings as django_settings
from django.contrib.auth import SESSION_KEY, get_user_model
from django.core.cache import caches
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models.functions import Now

from spotify_auth.importing import spotipy_info
from spotify_auth.importing.candidates import Candidate, Found, Problem, Unusable
from spotify_auth.importing.source import (
    Choices,
    Copy,
    Refused,
    Users,
    require_our_client,
    require_our_database,
)
from spotify_auth.models import UserId

AT_ONCE = 500


@dataclass(slots=True)
class _Of:
    """A user's sessions, newest token first."""

    expires_at: float
    keys: list[str] = field(default_factory=list, repr=False)


@dataclass(frozen=True, slots=True)
class _Sessions:
    candidate: Candidate
    source: "SpotipySessionsSource"
    rows: list[Any] = field(repr=False)

    def erase(self) -> None:
        for row in self.rows:
            self.source.rewrite(row)


class SpotipySessionsSource:
    """The rows of Django's sessions. Of a user's several tokens, the last to expire is taken."""

    name = "spotipy-sessions"
    erases_older_copies = True

    def __init__(self, choices: Choices) -> None:
        self._choices = choices
        self._store: Any
        self._model: Any

    def open(self) -> None:
        require_our_client(self._choices.client_id, where="a session")
        self._store = import_module(django_settings.SESSION_ENGINE).SessionStore
        get_model = getattr(self._store, "get_model_class", None)
        if get_model is None:
            raise Refused(
                f"SESSION_ENGINE is {django_settings.SESSION_ENGINE}: only sessions that are "
                "stored in the database can be read."
            )
        self._model = get_model()
        require_our_database(self._model, of="the sessions")
        self._users = Users("pk")
        self._lost: list[Problem] = []
        self._by_user = self._look()

    def total(self) -> int | None:
        return len(self._by_user) + len(self._lost)

    def found(self) -> Iterator[Found]:
        yield from self._lost
        newest_first = sorted(self._by_user, key=lambda user: -self._by_user[user].expires_at)
        for begin in range(0, len(newest_first), AT_ONCE):
            some = newest_first[begin : begin + AT_ONCE]
            users = self._users.find(some)
            for text in some:
                user_id = users[text]
                try:
                    if isinstance(user_id, Unusable):
                        raise user_id
                    rows = list(self._model.objects.filter(pk__in=self._by_user[text].keys))
                    if rows:
                        yield self._newest(rows, text, user_id)
                except Unusable as reason:
                    key = user_id if not isinstance(user_id, Unusable) else None
                    yield Problem(place="a session", reason=str(reason), user_id=key)

    @contextmanager
    def held(self, candidate: Candidate) -> Iterator[Copy | None]:
        with transaction.atomic():
            keys = self._by_user[candidate.key].keys
            locked = self._model.objects.filter(pk__in=keys).order_by("pk").select_for_update()
            rows = [row for row in locked if self._info_of(row) is not None]
            if rows:
                newest = self._newest(rows, candidate.key, candidate.user_id)
                yield _Sessions(newest, self, rows)
            else:
                yield None

    def rewrite(self, row: Any) -> None:
        """Take the tokens out of a session. It lives as long as before."""
        data = self._store().decode(row.session_data)
        data.pop(self._choices.session_key, None)
        encoded = self._store().encode(data)
        self._model.objects.filter(pk=row.pk).update(session_data=encoded)
        prefix = getattr(self._store, "cache_key_prefix", None)
        if prefix is not None:  # cached_db
            cache = caches[django_settings.SESSION_CACHE_ALIAS]
            transaction.on_commit(partial(cache.delete, f"{prefix}{row.pk}"))

    def _look(self) -> dict[str, _Of]:
        """Whose sessions have tokens, by the user as the session names them."""
        found: dict[str, _Of] = {}
        for row in self._model.objects.filter(expire_date__gt=Now()).iterator(chunk_size=AT_ONCE):
            data = self._store().decode(row.session_data)
            info = data.get(self._choices.session_key)
            if info is None:
                continue
            user = data.get(SESSION_KEY)
            if not isinstance(user, str) or not _is_key(user):
                self._lost.append(
                    Problem(place="a session", reason="nobody is logged in to this session")
                )
                continue
            of = found.setdefault(user, _Of(0.0))
            of.keys.append(row.pk)
            of.expires_at = max(of.expires_at, _expires_at(info))
        return found

    def _info_of(self, row: Any) -> Any:
        return self._store().decode(row.session_data).get(self._choices.session_key)

    def _newest(self, rows: list[Any], text: str, user_id: UserId) -> Candidate:
        infos = [self._info_of(row) for row in rows]
        newest = max((info for info in infos if info is not None), key=_expires_at, default=None)
        number = f"{len(rows)} sessions" if len(rows) > 1 else "the session"
        place = f"{number} of user {user_id}"
        return spotipy_info.candidate(newest, place=place, key=text, user_id=user_id)


def _expires_at(info: object) -> float:
    value = info.get("expires_at") if isinstance(info, dict) else None
    return value if isinstance(value, int | float) else 0.0


def _is_key(text: str) -> bool:
    try:
        get_user_model()._meta.pk.to_python(text)
    except (ValidationError, ValueError):
        return False
    return True
