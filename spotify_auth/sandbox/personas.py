"""The made-up people who can sign in, and what they listen to."""

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from random import Random

from .catalogue import HOSTILE_RECORDS, RECORDS, Json, Record, artist, identity, images, tracks
from .state import account_id_of

TIME_RANGES = ("short_term", "medium_term", "long_term")

_GENERATED_ID = re.compile(r"user-(0|[1-9][0-9]{0,8})")
_FIRST_NAMES = "Ada Bo Chidi Dana Elif Femi Greta Hugo Imani Jun Kaya Liam Mei Nils Oona Priya"
_LAST_NAMES = "Abara Berg Costa Dahl Ekström Fuentes Grau Haddad Ito Jansen Kovač Lind Moreau"
_PLAYLIST_NAMES = (
    "Kitchen, loud",
    "Trains",
    "Songs for the long way home",
    "Quiet mornings",
    "Running (slowly)",
    "Rain on a tin roof",
    "Gifts from friends",
)


class Playing(Enum):
    """What the person's player is doing."""

    NOTHING = "nothing"
    TRACK = "track"
    EPISODE = "episode"
    ADVERT = "ad"
    PAUSED = "paused"
    UNKNOWN = "unknown"
    """Something that Spotify does not name: a local file, for example."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Persona:
    """One made-up listener. `registered` False: not on the allowlist of the app's dashboard."""

    id: str
    display_name: str | None
    about: str
    picture: str
    has_picture: bool = True
    picture_elsewhere: str = ""
    """The address of the profile's picture, if it is on another company's host."""
    playing: Playing = Playing.TRACK
    records: tuple[Record, ...] = RECORDS
    playlist_names: tuple[str, ...] = _PLAYLIST_NAMES
    registered: bool = True
    owns_playlists: bool = True
    """False: others do, and Spotify then leaves `items` out in development mode."""

    def profile(self) -> Json:
        """/me, without the fields that Spotify has deprecated."""
        return {
            "account_id": account_id_of(self.id),
            "display_name": self.display_name,
            "external_urls": {"spotify": f"https://open.spotify.com/user/{self.id}"},
            "href": f"/v1/users/{self.id}",
            "id": self.id,
            "images": self._profile_images(),
            "type": "user",
            "uri": f"spotify:user:{self.id}",
        }

    def _profile_images(self) -> list[Json]:
        if self.picture_elsewhere:
            return [{"url": self.picture_elsewhere, "height": None, "width": None}]
        return images(self.picture)[1:] if self.has_picture else []

    def top_artists(self, time_range: str) -> list[Json]:
        return [artist(record) for record in self._in_taste_order(time_range)]

    def top_tracks(self, time_range: str) -> list[Json]:
        found = [track for record in self._in_taste_order(time_range) for track in tracks(record)]
        Random(f"{self.id}/tracks/{time_range}").shuffle(found)
        return found

    def rotation(self) -> list[Json]:
        """The tracks this person plays round and round."""
        return self.top_tracks("short_term")

    def playlists(self) -> list[Json]:
        profile = self.profile() if self.owns_playlists else persona("user-1").profile()
        owner = {
            key: value for key, value in profile.items() if key not in ("account_id", "images")
        }
        return [self._playlist(name, owner) for name in self.playlist_names]

    def _playlist(self, name: str, owner: Json) -> Json:
        """The summary of the tracks is `items` in development mode (formerly `tracks`)."""
        playlist = identity("playlist", f"{self.id}/{name}")
        random = Random(f"{self.id}/{name}")
        summary = {"href": f"{playlist['href']}/items", "total": random.randint(8, 240)}
        return {
            **playlist,
            "collaborative": False,
            "description": "",
            "images": images(f"playlist-{random.randrange(10**6)}") if self.has_picture else None,
            **({"items": summary} if self.owns_playlists else {}),
            "name": name,
            "owner": owner,
            "primary_color": None,
            "public": random.random() < 0.5,
            "snapshot_id": playlist["id"],
        }

    def _in_taste_order(self, time_range: str) -> list[Record]:
        records = list(self.records)
        Random(f"{self.id}/artists/{time_range}").shuffle(records)
        return records


PERSONAS = {
    persona.id: persona
    for persona in (
        Persona(
            id="listener",
            display_name="Maya Lindqvist",
            about="Years of listening, and a track playing now.",
            picture="listener",
        ),
        Persona(
            id="newcomer",
            display_name=None,
            about="No name, no picture, no history, nothing playing.",
            picture="newcomer",
            has_picture=False,
            playing=Playing.NOTHING,
            records=(),
            playlist_names=(),
        ),
        Persona(
            id="podcaster",
            display_name="Tomás Okafor",
            about="In the middle of a podcast episode.",
            picture="podcaster",
            playing=Playing.EPISODE,
        ),
        Persona(
            id="trickster",
            display_name='<script>alert(1)</script> "Zoë" \u202e& the 🦄 Ünïcödé ' + "ﷺ" * 20,
            about="Very long, odd and hostile names everywhere.",
            picture="trickster",
            has_picture=False,
            records=HOSTILE_RECORDS,
            playlist_names=(
                "<script>alert(1)</script>",
                "javascript:alert(1)",
                "\u03a9\u2248\u00e7\u221a\u222b\u02dc\u00b5\u2264\u2265\u00f7" * 25,
                " ",
            ),
        ),
        Persona(
            id="commuter",
            display_name="Juno Abernathy",
            about="Is hearing an advert: something plays, but no item.",
            picture="commuter",
            playing=Playing.ADVERT,
        ),
        Persona(
            id="sleeper",
            display_name="Noor Halvorsen",
            about="Paused hours ago: the player holds a track, and follows other users' playlists.",
            picture="sleeper",
            playing=Playing.PAUSED,
            owns_playlists=False,
        ),
        Persona(
            id="archivist",
            display_name="Anouk Ferrand",
            about="Plays local files that Spotify does not name; the picture is from another host.",
            picture="archivist",
            picture_elsewhere="https://platform-lookaside.fbsbx.com/platform/profilepic/?asid=1",
            playing=Playing.UNKNOWN,
        ),
        Persona(
            id="outsider",
            display_name="Ravi Stranger",
            about="Not on the app's allowlist: signs in, then every call is refused.",
            picture="outsider",
            registered=False,
        ),
    )
}


def is_persona_id(persona_id: str) -> bool:
    """One of the named personas, or `user-<n>`."""
    return persona_id in PERSONAS or _GENERATED_ID.fullmatch(persona_id) is not None


@lru_cache(maxsize=1024)
def persona(persona_id: str) -> Persona:
    """The persona of this id; `user-<n>` are ordinary listeners, made when asked for."""
    if persona_id in PERSONAS:
        return PERSONAS[persona_id]
    random = Random(persona_id)
    first, last = random.choice(_FIRST_NAMES.split()), random.choice(_LAST_NAMES.split())
    return Persona(
        id=persona_id,
        display_name=f"{first} {last}",
        about="A generated listener.",
        picture=persona_id,
    )
