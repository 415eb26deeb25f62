"""Finding people by what they are called, from indexes alone.

A text in the middle of a name would have to be looked for in every row, and so would a name that
may stand in one of two tables. So each way to be called is a query of its own, which finds the
beginning of a name or the whole of an account, and the list then shows the users that were found.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest

from spotify_auth.models import SpotifyToken, UserId

MOST_FOUND = 1000
"""Users whom one search finds, at most."""
HELP = "How a name or an e-mail address begins, a whole Spotify account ID, or a user's number."
"""What the lists say beside the search."""


def fields_that_name_users() -> tuple[str, ...]:
    """What a list is searched for: the user's name and address, whatever the user model has."""
    model = get_user_model()
    fields = {field.name for field in model._meta.get_fields()}
    names = (model.USERNAME_FIELD, model.get_email_field_name())
    return tuple(name for name in dict.fromkeys(names) if name in fields)


def find(term: str, *, names: Iterable[str]) -> list[UserId]:
    """Users whose name begins like this, or whose number or Spotify account it is.

    `names` are fields of the user model. PostgreSQL finds them by an index if there is one:
    Django's own for the username, which it compares letter by letter; one over `upper(field)`
    with `text_pattern_ops` for the others.
    """
    model = get_user_model()
    users = model._base_manager.order_by()
    tokens = SpotifyToken.objects.order_by()
    found = [_keys(tokens.filter(account_id=term), "user_id")]
    for name in names:
        how = "startswith" if name == model.USERNAME_FIELD else "istartswith"
        found.append(_keys(users.filter(**{f"{name}__{how}": term}), "pk"))
    with suppress(ValidationError):  # no number, where users have numbers
        found.append(_keys(users.filter(pk=model._meta.pk.to_python(term)), "pk"))
    first, *others = found
    return list(first.union(*others))


def search_is_cut(request: HttpRequest) -> bool:
    """Whether the list's search has found MOST_FOUND users, so that there may be others."""
    return bool(getattr(request, "search_is_cut", False))


def _keys(rows: QuerySet[Any], field: str) -> QuerySet[Any]:
    return rows.values_list(field, flat=True)[:MOST_FOUND]
