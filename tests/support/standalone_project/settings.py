"""The example's settings, and what these tests need: short lives, and the kind of users."""

import json
import os

from music_site.settings import *  # noqa: F403

from spotify_auth.celery_settings import beat_schedule

DATABASES = {"default": json.loads(os.environ["DATABASE"])}
AUTH_USER_MODEL = os.environ["USER_MODEL"]
if AUTH_USER_MODEL == "members.Member":
    INSTALLED_APPS = [*INSTALLED_APPS, "standalone_project.members"]  # noqa: F405
ROOT_URLCONF = "standalone_project.urls"
# Neither spotify_auth's migrations nor its models may depend on it.
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # quick: users are made up
LOGIN_REDIRECT_URL = "/music/"

# Lifetimes pass when a test says so; no slow machine overruns the deadline of a call.
ACCESS_TOKEN_LIFETIME_SECONDS = 600
REFRESH_SWEEP_SECONDS = 0.2
CELERY_BEAT_SCHEDULE = beat_schedule(REFRESH_SWEEP_SECONDS)
