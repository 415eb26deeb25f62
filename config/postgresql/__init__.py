"""Django's database backend for PostgreSQL, which keeps the password out of error reports."""
