"""The tokens: stored encrypted, refreshed in the background, read by requests."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spotify_auth.adopting import adopt as adopt

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`spotify_auth.adopt`: looked up when it is used, since models wait for Django's setup."""
    if name == "adopt":
        return import_module("spotify_auth.adopting").adopt
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
