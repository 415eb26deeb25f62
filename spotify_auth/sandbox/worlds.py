"""The two worlds: what becomes of the refresh token at a refresh.

All else is the same in both: access tokens live as long as the command line says, refresh
tokens die six months after the authorisation, and /me has `account_id`.
"""

from enum import StrEnum


class World(StrEnum):
    """Which Spotify the sandbox stands in for."""

    ROTATING = "rotating"
    """As Spotify has done with PKCE, and as RFC 9700 (4.14.2) advises. The harder world."""
    SPOTIFY_2026 = "spotify-2026"
    """As Spotify does since July 2026 (developer.spotify.com/documentation/web-api/tutorials/
    refreshing-tokens): one goes on using the first refresh token."""

    @property
    def rotates(self) -> bool:
        """Whether a refresh brings a new refresh token."""
        return self is World.ROTATING

    @property
    def habit(self) -> str:
        """What a refresh does, in words that follow the name."""
        if self.rotates:
            return "each refresh brings a new refresh token, and the old one is dead at once"
        return "a refresh brings no new refresh token, and the first one lives for six months"


DEFAULT = World.ROTATING

FLAGS = {"true": True, "false": False}
"""How SANDBOX_REUSE_REVOKES_GRANT is spelled."""


class WorldError(ValueError):
    """The settings name no world; the message is one line that says what is wrong."""


def world_of(name: str) -> World:
    """The world of this name. Raises WorldError."""
    try:
        return World(name)
    except ValueError:
        known = " or ".join(World)
        raise WorldError(f"{name!r} is no world of the sandbox: say {known}") from None


def reuse_revokes_grant(flag: str, world: World) -> bool:
    """Whether a dead refresh token that comes back revokes its grant. Raises WorldError."""
    if flag not in FLAGS:
        raise WorldError(f"{flag!r} is not true or false")
    if FLAGS[flag] and not world.rotates:
        raise WorldError(f"no refresh token dies by its use in the world {world}: say false")
    return FLAGS[flag]
