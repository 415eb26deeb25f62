"""The settings of a process that serves ASGI: the same, with a pool of connections.

Django's database code runs in threads there, and each request has one of its own, which ends with
it. A connection that the thread kept would be left behind, and one that it opens itself costs each
request a login at PostgreSQL (docs/how-to/read-in-async-views.md). Workers and beats keep
`config.settings`: their threads live long, and each keeps its own connection.
"""

from config.settings import *  # noqa: F403
from config.settings import (
    ASGI_POOL_SIZE,
    DATABASES,
    MOST_DATABASE_CONNECTIONS,
    WEB_PROCESSES,
    WEB_THREADS,
)

ASGI_APPLICATION = "config.asgi.application"

MOST_DATABASE_CONNECTIONS += WEB_PROCESSES * (ASGI_POOL_SIZE - WEB_THREADS)

_default = DATABASES["default"]
DATABASES = {
    **DATABASES,
    "default": {
        **_default,
        "CONN_MAX_AGE": 0,  # a request gives its connection back
        "CONN_HEALTH_CHECKS": True,  # the pool hands out no connection that has broken
        "OPTIONS": {
            **_default["OPTIONS"],
            "pool": {
                "min_size": min(4, ASGI_POOL_SIZE),
                "max_size": ASGI_POOL_SIZE,
                # A request that finds none free fails then, as if PostgreSQL were away.
                "timeout": 5,
            },
        },
    },
}
