"""The WSGI application that gunicorn serves."""

import os
import sys

from django.conf import settings
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

application = get_wsgi_application()

# Not in the settings: the routes need the applications.
from spotify_auth.redirect_uri import view_of  # noqa: E402

_match = view_of(settings.SPOTIFY_REDIRECT_URI)
if _match is None or _match.url_name != "callback":
    sys.exit(
        "The settings are not usable (see .env.example):\n"
        "  SPOTIFY_REDIRECT_URI is malformed: its path must be /spotify/callback/."
    )
