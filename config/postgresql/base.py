"""Connecting to PostgreSQL: Django and psycopg have the password in plain local variables."""

from django.db.backends.postgresql import base

from spotify_auth.secrecy import forgets_variables


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's own; a connection that fails leaves no variable in its traceback."""

    connect = forgets_variables(base.DatabaseWrapper.connect)
