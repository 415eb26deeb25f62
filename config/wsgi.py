"""The WSGI application that gunicorn serves."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

django.setup(set_prefix=False)

# Not before: the routes need the applications.
from config.callback_route import stop_without_callback  # noqa: E402
from config.hidden_query import Handler, hides_query  # noqa: E402

application = hides_query(Handler())

stop_without_callback()
