"""The project's settings: Django's usual ones, and those of spotify_auth and Celery."""

import os

from spotify_auth.celery_settings import TASK_ROUTES, beat_schedule

SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = ["127.0.0.1"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.staticfiles",
    "music_site",
    "spotify_auth",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "spotify_auth.middleware.LastSeenMiddleware",
]
ROOT_URLCONF = "music_site.urls"
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
# libpq reads PGHOST, PGPORT, PGUSER and PGPASSWORD by itself.
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ.get("PGDATABASE", "music_site"),
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
STATIC_URL = "static/"
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/"

# --- Spotify ---

TOKEN_ENCRYPTION_KEYS = os.environ["TOKEN_ENCRYPTION_KEYS"]
SPOTIFY_CLIENT_ID = os.environ["SPOTIFY_CLIENT_ID"]
SPOTIFY_CLIENT_SECRET = os.environ["SPOTIFY_CLIENT_SECRET"]
SPOTIFY_REDIRECT_URI = os.environ["SPOTIFY_REDIRECT_URI"]
SPOTIFY_BASE_TEMPLATE = "music_site/base.html"
REFRESH_SWEEP_SECONDS = 10
if "SANDBOX_URL" in os.environ:  # python -m spotify_auth.sandbox
    SPOTIFY_ACCOUNTS_URL = SPOTIFY_API_URL = os.environ["SANDBOX_URL"]
    ACCESS_TOKEN_LIFETIME_SECONDS = 120
    REFRESH_SWEEP_SECONDS = 2
    TOKEN_ENDPOINT_DEADLINE_SECONDS = 8

# --- Celery ---

REDIS_URL = os.environ["REDIS_URL"]
CELERY_BROKER_URL = os.environ.get("BROKER_URL", REDIS_URL)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"
CELERY_TASK_ROUTES = TASK_ROUTES
CELERY_BEAT_SCHEDULE = beat_schedule(REFRESH_SWEEP_SECONDS)
