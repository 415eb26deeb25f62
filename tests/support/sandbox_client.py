"""The sandbox that adopters' tests have too, and what our own say to it."""

from spotify_auth.testing.sandbox import TIMEOUT_SECONDS, Sandbox, SandboxError, decide

__all__ = ["REDIRECT_URI", "SCOPES", "TIMEOUT_SECONDS", "Sandbox", "SandboxError", "decide"]

REDIRECT_URI = "http://127.0.0.1:8000/spotify/callback/"
SCOPES = "user-top-read user-read-recently-played user-read-currently-playing playlist-read-private"
