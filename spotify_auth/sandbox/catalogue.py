"""Made-up artists, albums, tracks and a podcast, in Spotify's shapes.

The shapes are those left to apps in development mode after March 2026: no `popularity`,
`followers`, `available_markets` or `publisher`. `external_ids` were gone for a month and came
back; the short form of an album, as in a track, never had them. Addresses in the sandbox itself
are paths here; `web_api` makes them absolute.
"""

from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from random import Random
from typing import Any

Json = dict[str, Any]

_PICTURE_SIZES = (640, 300, 64)


@dataclass(frozen=True, slots=True)
class Record:
    """One artist and the album they are known for. No picture name: no images at all."""

    artist: str
    genre: str
    album: str
    released: str
    titles: tuple[str, ...]
    picture: str | None = None
    artist_url: str | None = None


def spotify_id(kind: str, name: str) -> str:
    """22 characters, as Spotify's ids have; the same for the same name in every run."""
    digest = sha256(f"{kind}/{name}".encode()).digest()
    return urlsafe_b64encode(digest[:18]).decode()[:22].replace("-", "x").replace("_", "y")


def identity(kind: str, name: str) -> Json:
    """The fields every Spotify object has: id, addresses, type and name."""
    identifier = spotify_id(kind, name)
    return {
        "external_urls": {"spotify": f"https://open.spotify.com/{kind}/{identifier}"},
        "href": f"/v1/{kind}s/{identifier}",
        "id": identifier,
        "name": name,
        "type": kind,
        "uri": f"spotify:{kind}:{identifier}",
    }


def images(picture: str | None) -> list[Json]:
    """Three sizes, largest first; empty when there is no picture."""
    if picture is None:
        return []
    address = f"/pictures/{picture}.svg"
    return [{"url": address, "height": size, "width": size} for size in _PICTURE_SIZES]


def artist(record: Record) -> Json:
    picture = record.picture and f"artist-{record.picture}"
    return {
        **identity("artist", record.artist),
        "genres": [record.genre],
        "images": images(picture),
    }


def tracks(record: Record) -> list[Json]:
    """The tracks of the record's album, in order."""
    by = [identity("artist", record.artist)]
    album = {
        **identity("album", record.album),
        "album_type": "album",
        "artists": by,
        "images": images(record.picture),
        "release_date": record.released,
        "release_date_precision": "day" if len(record.released) > 4 else "year",
        "total_tracks": len(record.titles),
    }
    random = Random(record.album)
    return [
        {
            **identity("track", title),
            "album": album,
            "artists": by,
            "disc_number": 1,
            "duration_ms": random.randint(150_000, 320_000),
            "explicit": random.random() < 0.15,
            "external_ids": {"isrc": _isrc(title, record)},
            "is_local": False,
            "preview_url": None,
            "track_number": number,
        }
        for number, title in enumerate(record.titles, start=1)
    ]


def _isrc(title: str, record: Record) -> str:
    """A recording's code: country, registrant, year and number. No country has ZZ."""
    number = int.from_bytes(sha256(f"{record.artist}/{title}".encode()).digest()[:4]) % 100_000
    return f"ZZZZZ{record.released[2:4]}{number:05}"


def episode() -> Json:
    """The one podcast episode of the sandbox."""
    show = {
        **identity("show", "The Long Way Round"),
        "description": "Conversations on slow trains.",
        "explicit": False,
        "images": images("long-way-round"),
        "media_type": "audio",
        "total_episodes": 88,
    }
    return {
        **identity("episode", "Episode 41: The last ferry of the season"),
        "description": "What an island does when the boat stops coming.",
        "duration_ms": 2_712_000,
        "explicit": False,
        "images": images("last-ferry"),
        "language": "en",
        "languages": ["en"],
        "release_date": "2026-09-14",
        "release_date_precision": "day",
        "show": show,
    }


def _record(artist: str, genre: str, album: str, released: str, *titles: str) -> Record:
    return Record(artist, genre, album, released, titles, spotify_id("album", album).lower())


RECORDS = (
    _record(
        "Harbour Lights", "dream pop", "Tidewater", "2023-04-14",
        "Low Water", "Signal Hill", "Nine Buoys", "Come In, Trinity",
    ),
    _record(
        "Ines Valdarno", "chamber folk", "A House With Two Doors", "2021-10-01",
        "Quince", "The Second Door", "Letters to Ada", "Linen",
    ),
    _record(
        "Static Orchard", "indie rock", "Windfall", "2024-02-23",
        "Bruise", "Cider Year", "Ladder", "All the Wasps Are Drunk",
    ),
    _record(
        "Kofi & the Meridian", "highlife", "Noon Everywhere", "2019-06-21",
        "Accra Gold", "Noon Everywhere", "Market Day", "Slow Bus to Takoradi",
    ),
    _record(
        "Lumen Choir", "ambient", "Rooms Without Corners", "2020",
        "First Room", "Second Room", "Hallway", "Attic, Snow",
    ),
    _record(
        "Paper Tigers Club", "synth-pop", "Office Hours", "2022-09-09",
        "Out of Office", "Reply All", "Elevator Pitch", "Friday, Finally",
    ),
    _record(
        "Solveig Strand", "nordic jazz", "Blue Hour", "2018-11-16",
        "Blue Hour", "Fjellrev", "Nothing Yet", "Waltz for a Lighthouse",
    ),
    _record(
        "Desert Semaphore", "psychedelic rock", "Mirage Department", "2017-03-03",
        "Heat Haze", "Telegraph Canyon", "Six Vultures", "Water Tower",
    ),
    _record(
        "Odd Numbers", "math rock", "Seventeen", "2023-01-27",
        "Prime", "Eleven Eight", "Remainder", "Carry the One",
    ),
    _record(
        "Marguerite Oyelaran", "soul", "Sunday Hands", "2024-05-31",
        "Sunday Hands", "Butter", "Tell It Sideways", "Auntie's Radio",
    ),
    _record(
        "The Night Ferries", "post-punk", "Timetable", "2015-10-30",
        "Last Departure", "Car Deck", "Foghorn", "Duty Free",
    ),
    _record(
        "Aoi Komorebi", "city pop", "Vending Machine Summer", "2022-07-15",
        "Melon Soda", "Rooftop 1986", "Taxi Lights", "See You on the Yamanote",
    ),
    _record(
        "Glass Cartographer", "idm", "Contour Lines", "2016",
        "Isobar", "Legend", "Scale 1:25,000", "Here Be Nothing",
    ),
    _record(
        "Bramble & Rue", "folk", "Hedge School", "2020-08-28",
        "Hedge School", "The Blackthorn Reel", "Rue the Day", "Over the Stile",
    ),
    _record(
        "Velvet Parallax", "nu disco", "Mirrorball Arithmetic", "2021-06-04",
        "Count Me In", "Hall of Shoes", "Parallax", "Two Left Feet",
    ),
    _record(
        "Cassius Thorne", "blues", "Borrowed Truck", "2014-02-18",
        "Borrowed Truck", "County Line Coffee", "Levee Talk", "No Spare",
    ),
    _record(
        "Mira Sandoval", "bossa nova", "Janela", "2023-11-10",
        "Janela", "Maré Mansa", "Bicicleta", "Um Café, Dois Copos",
    ),
    _record(
        "Concrete Pastoral", "post-rock", "Sheep on the Ring Road", "2019-09-20",
        "Underpass Choir", "Sodium Lamps", "Verge", "Sheep on the Ring Road",
    ),
)  # fmt: skip

_LONG = "The Extremely Patient Orchestra of People Who Were Told It Would Only Take a Minute " * 4

HOSTILE_RECORDS = (
    Record(
        "<script>alert(1)</script>",
        "<b>noise</b>",
        '"><img src=x onerror=alert(1)>',
        "2020",
        ("</title><script>alert(document.cookie)</script>", "{{ 7 * 7 }} {% debug %}"),
        "hostile-one",
    ),
    Record(_LONG.strip(), "endurance", "W" * 180, "2024-12-31", ("no" * 120, "&amp;&lt;&#39;")),
    Record(
        "\u202eesreveR\u202c \u2066\u0629\u062c\u0627\u062c\u0632\u2069",
        "bidi",
        "Z\u0351\u0343\u0302a\u0321\u0324l\u0350\u0357g\u0334\u0319o\u0322",
        "1999-01-01",
        ("👩‍👩‍👧‍👦🏳️‍🌈" * 12, "zero\u200bwidth\u200b\u200djoined"),
        "hostile-three",
    ),
    Record("'; DROP TABLE users; --", "sql", "../../etc/passwd", "0000", ("%00%0a%0d", " ")),
)
