"""The text of this app's pages, within the frame that the project names."""

from collections.abc import Mapping

from django.http import HttpRequest
from django.template.loader import render_to_string

from spotify_auth.conf import settings


def text_of(name: str, context: Mapping[str, object], *, request: HttpRequest | None = None) -> str:
    """A template of this app with this context, in the frame SPOTIFY_BASE_TEMPLATE.

    Without the request no context processor runs: those of most projects ask for the user, and
    so the database, which may be what the page tells of.
    """
    framed = {**context, "base_template": settings.SPOTIFY_BASE_TEMPLATE}
    return render_to_string(f"spotify_auth/{name}", framed, request)
