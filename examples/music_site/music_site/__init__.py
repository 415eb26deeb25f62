"""The project. Django's processes know its Celery application by this import."""

from music_site.celery import app as celery_app

__all__ = ["celery_app"]
