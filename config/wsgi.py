"""The WSGI application that gunicorn serves."""

import os
import sys

import django
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

django.setup(set_prefix=False)

# Not before: the routes need the applications.
from config.hidden_query import Handler, hides_query  # noqa: E402
from spotify_auth.redirect_uri import view_of  # noqa: E402

application = hides_query(Handler())

_match = view_of(settings.SPOTIFY_REDIRECT_URI)
if _match is None or _match.url_name != "callback":
    sys.exit(
        "The settings are not usable (see .env.example):\n"
        "  SPOTIFY_REDIRECT_URI is malformed: its path must be /spotify/callback/."
    )
