"""A project whose users log in by django-allauth, by social-auth-app-django or by spotipy."""

from bridged.celery import app

__all__ = ["app"]
