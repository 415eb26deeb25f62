"""What Django needs for the service's rules: no database, no Redis, every default as it is."""

INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "spotify_auth"]
SECRET_KEY = "unused"
USE_TZ = True
