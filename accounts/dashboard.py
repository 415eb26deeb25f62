"""What the dashboard shows, made from the Web API's answers.

Every part has a state of its own, so that one call that fails never fails the page.
Answers are read defensively: a field of another form than documented counts as missing, and
an item that is no object costs that item alone.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from accounts import pictures
from spotify_auth import shared_answers, web_api
from spotify_auth.conf import settings
from spotify_auth.problems import lasting
from spotify_auth.shared_answers import Made
from spotify_auth.text import storable
from spotify_auth.tokens import AccessToken, UserOrId, primary_key_of
from spotify_auth.web_api import Answer, RateLimited, WebApiError, reading

CALLS: dict[str, tuple[str, Mapping[str, str | int]]] = {
    "profile": ("/me", {}),
    "now_playing": ("/me/player/currently-playing", {"additional_types": "track,episode"}),
    "top_artists": ("/me/top/artists", {"limit": 12}),
    "top_tracks": ("/me/top/tracks", {"limit": 10}),
    "recently_played": ("/me/player/recently-played", {"limit": 10}),
    "playlists": ("/me/playlists", {"limit": 12}),
}

LONGEST_LIST = 50
"""Items of a list that are shown, however many an answer has: more than any call asks for."""
INCOMPLETE_KEPT_SECONDS = 2
"""A dashboard with a part that failed is asked for again soon, but not at each click."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One line or card: a name, perhaps more words, a picture and a link to Spotify."""

    name: str
    detail: str = ""
    picture: str = ""
    link: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One part of the dashboard. `error` is a WebApiError's code, or blank."""

    items: tuple[Item, ...] = ()
    error: str = ""
    paused: bool = False
    """The player holds this item, and does not play it."""
    retry_after: int | None = None
    """Seconds until Spotify may be asked again, after a 429."""

    @property
    def state(self) -> str:
        """ok, paused, empty or error."""
        if self.error:
            return "error"
        if not self.items:
            return "empty"
        return "paused" if self.paused else "ok"

    @property
    def wait(self) -> str:
        """`retry_after` in words: "about 14 hours"."""
        return "" if self.retry_after is None else lasting(self.retry_after)


def load(user: UserOrId, *, requested_by: str = "") -> dict[str, Part]:
    """Everything the dashboard shows, at most DASHBOARD_KEPT_SECONDS old.

    The user's tabs share it. Raises tokens.TokenUnavailable, which is never kept.
    """
    token = reading.read(user, requested_by=requested_by)
    kept_seconds = settings.DASHBOARD_KEPT_SECONDS
    if not kept_seconds:
        return _fetch(user, token, requested_by=requested_by)

    def make() -> Made:
        parts = _fetch(user, token, requested_by=requested_by)
        whole = not any(part.error for part in parts.values())
        text = json.dumps({name: asdict(part) for name, part in parts.items()})
        return Made(text, kept_seconds if whole else min(kept_seconds, INCOMPLETE_KEPT_SECONDS))

    place = f"dashboard:{primary_key_of(user)}:{token.generation}"
    return _parts_of(shared_answers.share(place, make))


def _fetch(user: UserOrId, token: AccessToken, *, requested_by: str) -> dict[str, Part]:
    return parts_from(web_api.get_all(user, CALLS, requested_by=requested_by, token=token))


def parts_from(answers: Mapping[str, Answer | WebApiError]) -> dict[str, Part]:
    """The parts that these answers to CALLS make."""
    return {name: _part(answers[name], _READERS[name]) for name in CALLS}


def _parts_of(text: str) -> dict[str, Part]:
    parts: dict[str, dict[str, Any]] = json.loads(text)
    return {
        name: Part(**{**part, "items": tuple(Item(**item) for item in part["items"])})
        for name, part in parts.items()
    }


def _part(answer: Answer | WebApiError, read: Callable[[dict[str, Any]], Part]) -> Part:
    if isinstance(answer, RateLimited):
        return Part(error=answer.code, retry_after=round(answer.retry_after) + 1)
    if isinstance(answer, WebApiError):
        return Part(error=answer.code)
    try:
        return Part() if answer is None else read(answer)
    except _Unreadable:
        return Part(error=web_api.Unavailable.code)


class _Unreadable(Exception):
    """Nothing of an answer, or of an item, has the documented form."""


def _profile(answer: dict[str, Any]) -> Part:
    name = _text(answer.get("display_name")) or "Spotify listener"
    return Part(items=(_item(answer, name=name),))


def _now_playing(answer: dict[str, Any]) -> Part:
    item, plays = answer.get("item"), answer.get("is_playing")
    advert = answer.get("currently_playing_type") == "ad"
    if isinstance(item, dict) and item:
        return Part(items=(_playable(item),), paused=plays is False)
    if plays is False or not (plays or advert):
        return Part()
    return Part(items=(Item(name="An advert" if advert else "Something without a name"),))


def _each(read: Callable[[dict[str, Any]], Item | None]) -> Callable[[dict[str, Any]], Part]:
    """A reader of lists: what `read` makes of each item; one that is unreadable is left out."""

    def read_list(answer: dict[str, Any]) -> Part:
        sources = answer.get("items")
        if not isinstance(sources, list):
            raise _Unreadable
        found: list[Item] = []
        unreadable = 0
        for source in sources[:LONGEST_LIST]:
            try:
                item = read(_object(source)) if source else None
            except _Unreadable:
                unreadable += 1
            else:
                found += [item] if item else []
        if unreadable and not found:
            raise _Unreadable  # a form that we do not know, and not an empty list
        return Part(items=tuple(found))

    return read_list


def _artist(source: dict[str, Any]) -> Item:
    genres = filter(None, map(_text, _list(source.get("genres"))))
    return _item(source, detail=", ".join(list(genres)[:2]))


def _play(source: dict[str, Any]) -> Item | None:
    track = source.get("track")
    return _playable(_object(track)) if track else None


def _playlist(source: dict[str, Any]) -> Item:
    """A playlist of another user may have no `items`; formerly they were `tracks`."""
    return _item(source, detail=_count(source.get("items") or source.get("tracks")))


def _playable(source: dict[str, Any]) -> Item:
    """A track with its artists, or an episode with its show."""
    names = [_text(_fields(artist).get("name")) for artist in _list(source.get("artists"))]
    show = _fields(source.get("show"))
    album = _fields(source.get("album"))
    return _item(
        source,
        detail=", ".join(filter(None, names)) or _text(show.get("name")),
        images=source.get("images") or album.get("images") or show.get("images"),
    )


def _item(source: dict[str, Any], *, name: str = "", detail: str = "", images: Any = None) -> Item:
    return Item(
        name=(name or _text(source.get("name"))).strip() or "Untitled",
        detail=detail,
        picture=pictures.first_allowed(_list(images or source.get("images"))),
        link=_web_address(_fields(source.get("external_urls")).get("spotify")),
    )


def _count(summary: Any) -> str:
    total = _fields(summary).get("total")
    # bool is an int in Python.
    if not isinstance(total, int) or isinstance(total, bool):
        return ""
    return f"{total} item{'' if total == 1 else 's'}"


def _web_address(value: object) -> str:
    """An http address, or nothing: names and links come from strangers."""
    address = _text(value)
    return address if address.startswith(("https://", "http://")) else ""


def _text(value: object) -> str:
    """Text that a page can hold; what is no text is blank."""
    return storable(value) if isinstance(value, str) else ""


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _fields(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Unreadable
    return value


_READERS: dict[str, Callable[[dict[str, Any]], Part]] = {
    "profile": _profile,
    "now_playing": _now_playing,
    "top_artists": _each(_artist),
    "top_tracks": _each(_playable),
    "recently_played": _each(_play),
    "playlists": _each(_playlist),
}
