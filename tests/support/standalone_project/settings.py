"""The project's settings: Django's usual ones, and what spotify_auth cannot know."""

import json
import os

SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = ["127.0.0.1"]
DATABASES = {"default": json.loads(os.environ["DATABASE"])}
AUTH_USER_MODEL = os.environ["USER_MODEL"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "spotify_auth",
    *(["standalone_project.members"] if AUTH_USER_MODEL == "members.Member" else []),
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "spotify_auth.middleware.LastSeenMiddleware",
]
ROOT_URLCONF = "standalone_project.urls"
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
# Neither spotify_auth's migrations nor its models may depend on it.
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = True
STATIC_URL = "static/"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # quick: users are made up
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/music/"

TOKEN_ENCRYPTION_KEYS = os.environ["TOKEN_ENCRYPTION_KEYS"]
SPOTIFY_CLIENT_ID = "sandbox-client"
SPOTIFY_CLIENT_SECRET = "sandbox-secret"
SPOTIFY_REDIRECT_URI = "http://127.0.0.1:8000/spotify/callback/"
SPOTIFY_ACCOUNTS_URL = SPOTIFY_API_URL = os.environ["SPOTIFY_URL"]
# The sandbox's tokens live for eight seconds: three sweeps and two deadlines fit into 20 %.
ACCESS_TOKEN_LIFETIME_SECONDS = 8
ACCESS_TOKEN_MINIMUM_SECONDS = 0.5
REFRESH_SWEEP_SECONDS = 0.2
TOKEN_ENDPOINT_DEADLINE_SECONDS = 0.45

CELERY_BROKER_URL = os.environ["BROKER_URL"]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_ROUTES = {"spotify_auth.lane": {"queue": "lanes"}}
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"
CELERY_BEAT_SCHEDULE = {
    "sweep": {"task": "spotify_auth.sweep", "schedule": REFRESH_SWEEP_SECONDS},
}
