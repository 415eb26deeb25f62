"""A small Django project of somebody else's, which installs spotify_auth and nothing of ours."""

from standalone_project.celery import app as celery_app

__all__ = ["celery_app"]
