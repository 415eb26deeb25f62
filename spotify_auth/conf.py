"""The app's settings: what Django's settings say, and else the defaults here.

`from spotify_auth.conf import settings` reads `django.conf.settings` at each look-up, so that
a test or a project may change a value at any time. Five settings have no default
(`REQUIRED`); reading one that is missing raises ImproperlyConfigured, and `manage.py check`
names all of them at once.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

from spotify_auth import redis_url

REQUIRED: Final = {
    "TOKEN_ENCRYPTION_KEYS": "the keys that encrypt the stored tokens: 32 random bytes each, or "
    "the function that returns them",
    "SPOTIFY_CLIENT_ID": "the client ID from the Spotify Developer Dashboard",
    "SPOTIFY_CLIENT_SECRET": "the client secret from the Spotify Developer Dashboard",
    "SPOTIFY_REDIRECT_URI": "a redirect URI that is registered there: the address of the callback",
    "REDIS_URL": "redis://host:port/number (CELERY_BROKER_URL is used if it names a Redis)",
}
"""The settings without a default, and what each is."""

DEFAULTS: Final[dict[str, Any]] = {
    # Where Spotify is. The sandbox has an address of its own.
    "SPOTIFY_ACCOUNTS_URL": "https://accounts.spotify.com",
    "SPOTIFY_API_URL": "https://api.spotify.com",
    # What users are asked to grant.
    "SPOTIFY_SCOPES": [
        "user-top-read",
        "user-read-recently-played",
        "user-read-currently-playing",
        "playlist-read-private",
    ],
    # Where connecting and disconnecting lead, and the pages that say why it failed: a URL name
    # or a path. None is LOGIN_REDIRECT_URL.
    "SPOTIFY_CONNECTION_URL": None,
    # The template that this app's pages extend, with the blocks "title" and "content".
    "SPOTIFY_BASE_TEMPLATE": "spotify_auth/base.html",
    # A proxy for all calls to Spotify. The usual variables are not read: requests spends a
    # quarter of a call looking for them.
    "OUTBOUND_PROXY_URL": "",
    # Seconds that Spotify's access tokens live. The schedule goes by what was granted; this
    # is for the check that a refresh has time enough.
    "ACCESS_TOKEN_LIFETIME_SECONDS": 3600.0,
    # Threads of a web server process: each may make the calls of a page to the Web API at once.
    "WEB_THREADS": 8,
    # An access token with less life than this, in seconds, counts as stale for readers.
    "ACCESS_TOKEN_MINIMUM_SECONDS": 10.0,
    # How often beat looks for due tokens, in seconds.
    "REFRESH_SWEEP_SECONDS": 10.0,
    # How many lanes refresh at the same time, in all workers together.
    "REFRESH_LANES": 64,
    # The longest that one exchange may take, in seconds: a row lock is held over it.
    "TOKEN_ENDPOINT_DEADLINE_SECONDS": 12.0,
    # The outage guard: when this many other users, and this share of those who were answered,
    # are refused too, a refusal is not believed for this many seconds.
    "OUTAGE_GUARD_REFUSALS": 5,
    "OUTAGE_GUARD_SHARE": 0.02,
    "OUTAGE_GUARD_LONGEST_SECONDS": 6 * 3600.0,
    # Days after which the tokens of users who were not seen are left to expire. 0 is never.
    "REFRESH_DORMANT_AFTER": 0,
    # A worker that has grown beyond this, in MiB, ends itself. 0 is never.
    "WORKER_MAX_MEMORY_MIB": 0,
    # Whose X-Forwarded-For is believed: how many proxies stand before the site, or their
    # addresses and networks, with commas or in a list. 0: nobody's.
    "TRUSTED_PROXIES": "0",
    # Days for which the history of a token is kept; and the part of it that is routine, refreshes
    # that succeeded when they were due (`history.tables.IS_ROUTINE`).
    "TOKEN_EVENT_RETENTION_DAYS": 400,
    "ROUTINE_EVENT_RETENTION_DAYS": 7,
    # Keep that part in a table for each day, to be dropped whole, instead of folding it.
    "ROUTINE_EVENT_DAILY_TABLES": False,
    # Limits in a minute; 0 is none. Logins that one address begins, and with which it comes back;
    # pages and data that one address asks for; dashboards, and access tokens for a player, that one
    # user asks for.
    "RATE_LIMIT_LOGINS": 10,
    "RATE_LIMIT_ADDRESS": 600,
    "RATE_LIMIT_DASHBOARDS": 30,
    "RATE_LIMIT_TOKENS": 30,
    # Limits in 30 s for all users together; 0 is none. Calls of the Web API for pages, and codes of
    # logins that are traded at the token endpoint.
    "RATE_LIMIT_WEB_API_CALLS": 1000,
    "RATE_LIMIT_CODE_EXCHANGES": 120,
    # Seconds for which a user's dashboard is shown again without asking Spotify. 0 is not at all.
    "DASHBOARD_KEPT_SECONDS": 10,
    # What a program sends as its Bearer token to be told how the service is, on /metrics and
    # /readyz?verbose. Blank: only who is logged in to the admin is told.
    "OPERATIONS_TOKEN": "",
    # Networks that webhooks may be sent to although they are private, with commas or in a list;
    # to loopback addresses among them also by http.
    "WEBHOOK_ALLOWED_NETWORKS": "",
    # The most connections to PostgreSQL that all processes together may open, for
    # `manage.py check --database default`. 0: not checked.
    "MOST_DATABASE_CONNECTIONS": 0,
    # Further checks of `manage.py doctor`: dotted paths of `spotify_auth.doctor.findings.Check`s.
    "DOCTOR_CHECKS": [],
    # What else ends when an operator revokes a user's tokens, in the same transaction: the dotted
    # path of a function that takes the user's primary key.
    "AFTER_REVOKING": "",
}
"""The value of each setting that a project does not set."""


class Settings:
    """Django's settings, with this app's defaults behind them."""

    # For type checkers: the values themselves come from `__getattr__`.
    TOKEN_ENCRYPTION_KEYS: Sequence[bytes] | str | Callable[[], Sequence[bytes] | str]
    SPOTIFY_CLIENT_ID: str
    SPOTIFY_CLIENT_SECRET: str
    SPOTIFY_REDIRECT_URI: str
    SPOTIFY_ACCOUNTS_URL: str
    SPOTIFY_API_URL: str
    SPOTIFY_SCOPES: list[str]
    SPOTIFY_CONNECTION_URL: str | None
    SPOTIFY_BASE_TEMPLATE: str
    REDIS_URL: str
    HTTPS: bool
    OUTBOUND_PROXY_URL: str
    WEB_THREADS: int
    ACCESS_TOKEN_LIFETIME_SECONDS: float
    ACCESS_TOKEN_MINIMUM_SECONDS: float
    REFRESH_SWEEP_SECONDS: float
    REFRESH_LANES: int
    TOKEN_ENDPOINT_DEADLINE_SECONDS: float
    OUTAGE_GUARD_REFUSALS: int
    OUTAGE_GUARD_SHARE: float
    OUTAGE_GUARD_LONGEST_SECONDS: float
    REFRESH_DORMANT_AFTER: int
    WORKER_MAX_MEMORY_MIB: int
    TRUSTED_PROXIES: str | int | list[str]
    TOKEN_EVENT_RETENTION_DAYS: int
    ROUTINE_EVENT_RETENTION_DAYS: int
    ROUTINE_EVENT_DAILY_TABLES: bool
    MOST_DATABASE_CONNECTIONS: int
    DOCTOR_CHECKS: list[str]
    AFTER_REVOKING: str
    RATE_LIMIT_LOGINS: int
    RATE_LIMIT_ADDRESS: int
    RATE_LIMIT_DASHBOARDS: int
    RATE_LIMIT_TOKENS: int
    RATE_LIMIT_WEB_API_CALLS: int
    RATE_LIMIT_CODE_EXCHANGES: int
    DASHBOARD_KEPT_SECONDS: int
    OPERATIONS_TOKEN: str
    WEBHOOK_ALLOWED_NETWORKS: str | list[str]

    def __getattr__(self, name: str) -> Any:
        """One setting. Raises ImproperlyConfigured for a required one that is missing."""
        value = getattr(django_settings, name, None)
        if value or (value is not None and name not in REQUIRED):
            return value  # the usual case, on hot paths
        return _fallback(name)


def _fallback(name: str) -> Any:
    if name in DEFAULTS:
        return DEFAULTS[name]
    if name == "HTTPS":
        # Spotify takes plain http on a loopback address only, so the redirect URI tells.
        return urlsplit(settings.SPOTIFY_REDIRECT_URI).scheme == "https"
    broker = str(getattr(django_settings, "CELERY_BROKER_URL", None) or "")
    if name == "REDIS_URL" and urlsplit(broker).scheme in redis_url.SCHEMES:
        return broker
    if name in REQUIRED:
        raise ImproperlyConfigured(missing(name))
    raise AttributeError(name)  # no setting of this app


def missing(name: str) -> str:
    """The line about a required setting that is not there."""
    return f"{name} is missing: set it to {REQUIRED[name]}."


settings = Settings()
