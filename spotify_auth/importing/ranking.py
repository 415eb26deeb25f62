"""Rows of another library's table, of which a user may have several: the newest is taken."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.db.models import Exists, F, OuterRef, QuerySet, Window
from django.db.models.functions import RowNumber

from spotify_auth.importing.candidates import Candidate, Emptied, Found, Kind, Problem, Unusable
from spotify_auth.models import SpotifyToken

AT_ONCE = 500
"""Rows that are fetched at a time."""
_OLDER = "another Spotify account of this user is newer: that one is taken"


def newest_of_each_user(
    rows: "QuerySet[Any]",
    *,
    user: str,
    newest_first: Sequence[Any],
    place: Callable[[Any], str],
    is_emptied: Callable[[Any], bool],
    candidate: Callable[[Any], Candidate],
) -> Iterator[Found]:
    """What the rows hold, in their order.

    `user` is the field with the user's key, `newest_first` the order within a user's rows.
    `candidate` may raise Unusable. A row that `is_emptied` was moved before if its user has
    tokens here; otherwise it never had one.
    """
    kept = SpotifyToken.objects.filter(user_id=OuterRef(user))
    rank = Window(RowNumber(), partition_by=[F(user)], order_by=newest_first)
    ranked = rows.annotate(kept=Exists(kept), rank=rank, owner=F(user))
    for row in ranked.iterator(chunk_size=AT_ONCE):
        if row.kept and is_emptied(row):
            yield Emptied()
            continue
        try:
            found = candidate(row)
        except Unusable as reason:
            yield Problem(place=place(row), reason=str(reason), user_id=row.owner)
            continue
        if row.rank > 1:
            yield Problem(
                place=place(row), reason=_OLDER, kind=Kind.OLDER_ACCOUNT, user_id=row.owner
            )
        else:
            yield found
