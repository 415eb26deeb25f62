"""Django's settings for a peer: the same small site for each of them.

The applications and the adapter come from the environment, as does the rest.
"""

import os

from config.environment import postgresql_config

SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = ["127.0.0.1"]
SPOTIFY_CLIENT_ID = os.environ["SPOTIFY_CLIENT_ID"]
SPOTIFY_CLIENT_SECRET = os.environ["SPOTIFY_CLIENT_SECRET"]
SPOTIFY_REDIRECT_URI = os.environ["SPOTIFY_REDIRECT_URI"]
SPOTIFY_ACCOUNTS_URL = os.environ["SPOTIFY_ACCOUNTS_URL"]
SPOTIFY_API_URL = os.environ["SPOTIFY_API_URL"]

_apps = os.environ["CONTESTANT_APPS"].split()
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    *_apps,
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
if "allauth.account" in _apps:
    MIDDLEWARE.append("allauth.account.middleware.AccountMiddleware")
ROOT_URLCONF = "benchmarks.peers.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    }
]
# As this service has it: one connection a thread, kept.
DATABASES = {
    "default": {
        **postgresql_config(os.environ["DATABASE_URL"]),
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

# https://python-social-auth.readthedocs.io/en/latest/backends/spotify.html, and for
# EXTRA_DATA .../backends/oauth.html ("Token renewal"): without the lifetime in it,
# nothing is known to expire; True keeps the old refresh token if no new one came.
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    *(["benchmarks.peers.with_social_auth.Spotify"] if "social_django" in _apps else []),
]
SOCIAL_AUTH_SPOTIFY_KEY = SPOTIFY_CLIENT_ID
SOCIAL_AUTH_SPOTIFY_SECRET = SPOTIFY_CLIENT_SECRET
SOCIAL_AUTH_SPOTIFY_EXTRA_DATA = [
    ("refresh_token", "refresh_token", True),
    ("expires_in", "expires_in"),
]

# https://docs.allauth.org/en/latest/socialaccount/configuration.html
SOCIALACCOUNT_STORE_TOKENS = True
SOCIALACCOUNT_PROVIDERS = {
    "spotify": {"APPS": [{"client_id": SPOTIFY_CLIENT_ID, "secret": SPOTIFY_CLIENT_SECRET}]}
}
