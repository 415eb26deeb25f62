"""Settings of a project that has kept its tokens with allauth and with social-auth until now."""

from config.settings import *  # noqa: F403

APPS = ["allauth.account", "allauth.socialaccount", "social_django"]
INSTALLED_APPS = [*INSTALLED_APPS, *APPS]  # noqa: F405
MIDDLEWARE = [*MIDDLEWARE, "allauth.account.middleware.AccountMiddleware"]  # noqa: F405
SOCIALACCOUNT_PROVIDERS = {"spotify": {"SCOPE": ["user-top-read"]}}
SOCIAL_AUTH_SPOTIFY_KEY = SPOTIFY_CLIENT_ID  # noqa: F405
