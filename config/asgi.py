"""The ASGI application, for an ASGI server such as uvicorn in the place of gunicorn."""

import os

import django

# Whatever it was: threads of ASGI need a pool of connections. Celery's application, which is
# loaded with this package, has chosen config.settings by now.
os.environ["DJANGO_SETTINGS_MODULE"] = "config.asgi_settings"

django.setup(set_prefix=False)

# Not before: the routes need the applications.
from config.callback_route import stop_without_callback  # noqa: E402
from config.hidden_query import AsgiHandler, hides_query_of_asgi  # noqa: E402

application = hides_query_of_asgi(AsgiHandler())

stop_without_callback()
