"""The compared packages, how they decide to refresh, and the times that follow."""

from dataclasses import dataclass

USE_SECONDS = 6
"""How long a peer leaves a new token alone in this bench, before it refreshes again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contestant:
    """One way to keep Spotify tokens.

    `module` is its adapter in this package, `packages` are what it is made of, `apps` the
    Django applications it needs. `lifetime` is what its access tokens live, `period` the
    time from one visit of a user to the next, which falls just after the token became due
    (all in seconds).
    """

    name: str
    module: str
    packages: tuple[str, ...]
    apps: tuple[str, ...]
    lifetime: int
    period: float
    in_background: bool = False


def _inline(
    name: str, module: str, *, packages: tuple[str, ...], apps: tuple[str, ...], margin: int
) -> Contestant:
    """A peer: it refreshes in the request, `margin` seconds before the token expires.

    They count in whole seconds, so the token is due 5 to 7 s after a refresh, and each
    user comes every 8 s.
    """
    return Contestant(
        name=name,
        module=f"benchmarks.peers.{module}",
        packages=packages,
        apps=apps,
        lifetime=margin + USE_SECONDS,
        period=USE_SECONDS + 2,
    )


KEEPER = Contestant(
    name="this service",
    module="benchmarks.peers.with_keeper",
    packages=(),
    apps=(),
    # Refreshed at 70 to 80 % of its life: at 12 to 14 s. Users come every 13 s.
    lifetime=17,
    period=13,
    in_background=True,
)
CONTESTANTS = (
    _inline("spotipy", "with_spotipy", packages=("spotipy",), apps=(), margin=60),
    _inline(
        "social-auth-app-django",
        "with_social_auth",
        packages=("social-auth-app-django", "social-auth-core"),
        apps=("social_django",),
        margin=5,
    ),
    _inline(
        "Authlib",
        "with_authlib",
        packages=("authlib",),
        apps=("benchmarks.peers.authlib_tokens",),
        margin=60,
    ),
    _inline(
        "django-allauth + requests-oauthlib",
        "with_allauth",
        packages=("django-allauth", "requests-oauthlib", "oauthlib"),
        apps=(
            "allauth",
            "allauth.account",
            "allauth.socialaccount",
            "allauth.socialaccount.providers.spotify",
        ),
        margin=0,
    ),
    KEEPER,
)
