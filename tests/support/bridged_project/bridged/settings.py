"""The three libraries as their documentations have them, and spotify_auth added to the project.

The tests append what the guides want in addition.
"""

import json
import os

SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = ["127.0.0.1"]
DATABASES = {"default": json.loads(os.environ["DATABASE"])}

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.spotify",
    "social_django",
    "spotify_auth",
    "bridged",  # for its commands
    "bridged.sandboxed.Sandboxed",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "spotify_auth.middleware.LastSeenMiddleware",
]
ROOT_URLCONF = "bridged.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
STATIC_URL = "static/"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "INFO"},
}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # quick: users are made up
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/music/"

SPOTIFY_CLIENT_ID = "sandbox-client"
SPOTIFY_CLIENT_SECRET = "sandbox-secret"
SCOPES = ["user-top-read", "playlist-read-private"]

# django-allauth
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
    "bridged.sandboxed.Spotify",
]
ACCOUNT_EMAIL_VERIFICATION = "none"
SOCIALACCOUNT_STORE_TOKENS = True
SOCIALACCOUNT_PROVIDERS = {
    "spotify": {
        "APP": {"client_id": SPOTIFY_CLIENT_ID, "secret": SPOTIFY_CLIENT_SECRET},
        "SCOPE": SCOPES,
    },
}

# social-auth-app-django
SOCIAL_AUTH_SPOTIFY_KEY = SPOTIFY_CLIENT_ID
SOCIAL_AUTH_SPOTIFY_SECRET = SPOTIFY_CLIENT_SECRET
SOCIAL_AUTH_SPOTIFY_SCOPE = SCOPES

# spotify_auth
TOKEN_ENCRYPTION_KEYS = os.environ["TOKEN_ENCRYPTION_KEYS"]
SPOTIFY_SCOPES = SCOPES
SPOTIFY_REDIRECT_URI = "http://127.0.0.1:8000/spotify/callback/"
SPOTIFY_ACCOUNTS_URL = SPOTIFY_API_URL = os.environ["SPOTIFY_URL"]
# Lifetimes pass when a test says so; no slow machine overruns the deadline of a call.
ACCESS_TOKEN_LIFETIME_SECONDS = 600
REFRESH_SWEEP_SECONDS = 0.2

CELERY_BROKER_URL = os.environ["BROKER_URL"]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_ROUTES = {"spotify_auth.lane": {"queue": "lanes"}}
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"
CELERY_BEAT_SCHEDULE = {
    "sweep": {"task": "spotify_auth.sweep", "schedule": REFRESH_SWEEP_SECONDS},
}
