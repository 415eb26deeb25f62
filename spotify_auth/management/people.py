"""Whom a command means: users by name, or all whose tokens match a filter."""

from collections.abc import Iterator, Mapping
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.db.models import QuerySet

from spotify_auth.models import SpotifyToken, UserId
from spotify_auth.text import one_line, storable

AT_ONCE = 500
"""Tokens that match a filter are looked up in this many at a time."""
USER_HELP = (
    "a primary key, a username, an e-mail address or a Spotify account ID. pk:42 is the primary "
    "key 42 and nothing else"
)


def find(text: str) -> UserId:
    """The primary key of the user whom an operator names.

    Raises CommandError if there is none, or more than one.
    """
    text = storable(text)  # a terminal of another encoding sends bytes that are no text here
    key = _as_key(text.removeprefix("pk:"))
    if text.startswith("pk:"):
        found = _named("pk", key) if key is not None else set()
    else:
        model = get_user_model()
        # Nobody's e-mail address is indexed: looking for one reads all users.
        names = [model.USERNAME_FIELD] + ["email"] * ("@" in text and _has_email())
        found = _named("pk", key) if key is not None else set()
        found |= {pk for name in names for pk in _named(name, text)}
        tokens = SpotifyToken.objects.filter(account_id=text)
        found |= set(tokens.values_list("user_id", flat=True))
    if not found:
        raise CommandError(f"No user is {text!r}. Give {USER_HELP}.")
    if len(found) > 1:
        one_of = " or ".join(f"pk:{pk}" for pk in sorted(found))
        raise CommandError(f"{text!r} may be one of {len(found)} users. Write {one_of}.")
    return found.pop()


def name_of(user_id: UserId) -> str:
    """A user as an operator's terminal shows them: "user 42 (maya)".

    The name is one visible line: a terminal obeys what is not.
    """
    user = get_user_model().objects.filter(pk=user_id).first()
    name = one_line((user.get_username() if user else "") or "")
    return f"user {user_id} ({name})" if name else f"user {user_id}"


def _named(field: str, value: Any) -> set[UserId]:
    users = get_user_model().objects.filter(**{field: value})
    return set(users.values_list("pk", flat=True)[:10])


def _as_key(text: str) -> Any:
    try:
        key = get_user_model()._meta.pk.to_python(text)
    except (ValidationError, ValueError, OverflowError):
        return None
    # Python also takes 1_000 for a thousand: a misspelt name must not be somebody's number.
    return None if isinstance(key, int) and str(key) != text else key


def _has_email() -> bool:
    return any(field.name == "email" for field in get_user_model()._meta.get_fields())


def add_arguments(parser: CommandParser) -> None:
    """Users, or a filter."""
    parser.add_argument("users", nargs="*", metavar="USER", help=USER_HELP)
    parser.add_argument(
        "--status",
        choices=SpotifyToken.Status.values,
        help="all tokens with this status, instead of USER",
    )
    parser.add_argument(
        "--last-error",
        metavar="ERROR",
        help="all tokens with this error, http_503 for example; with --status: both",
    )


class People:
    """The users whom a command line names or whose tokens match its filter."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Raises CommandError for a user who is not there, and for none or both of the two."""
        given = {name: options[name] for name in ("status", "last_error")}
        wanted = {name: storable(text) for name, text in given.items() if text}
        if bool(options["users"]) == bool(wanted):
            raise CommandError(
                "Name users, or a filter (--status, --last-error), and not both.", returncode=2
            )
        self._matching = SpotifyToken.objects.filter(**wanted) if wanted else None
        self._named = list(dict.fromkeys(find(text) for text in options["users"]))

    def count(self) -> int:
        """How many there are."""
        return len(self._named) if self._matching is None else self._matching.count()

    def __iter__(self) -> Iterator[UserId]:
        """Each once, by primary key, whatever happens to them meanwhile."""
        return iter(self._named) if self._matching is None else _walk(self._matching)


def _walk(matching: QuerySet[SpotifyToken]) -> Iterator[UserId]:
    ordered = matching.order_by("pk").values_list("pk", flat=True)
    found: list[UserId] = list(ordered[:AT_ONCE])
    while found:
        yield from found
        found = list(ordered.filter(pk__gt=found[-1])[:AT_ONCE])
