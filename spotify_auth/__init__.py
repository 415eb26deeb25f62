"""The tokens: stored encrypted, refreshed in the background, read by requests."""

__version__ = "0.1.0"
