"""What a project's Celery settings need: where tasks wait, and when beat sends which.

Imports no Django settings, so that a settings module can import it.
"""

from typing import Any, Final

from spotify_auth.conf import DEFAULTS

LANE: Final = "spotify_auth.lane"
SWEEP: Final = "spotify_auth.sweep"
WEBHOOKS: Final = "spotify_auth.deliver_webhooks"

TASK_ROUTES: Final[dict[str, dict[str, str]]] = {
    LANE: {"queue": "lanes"},
    WEBHOOKS: {"queue": "webhooks"},
}
"""For `task_routes`. Lanes have a queue of their own, so that a sweep can see how many wait;
webhooks have one, so that a slow receiver holds up nobody."""


def beat_schedule(
    sweep_seconds: float = DEFAULTS["REFRESH_SWEEP_SECONDS"],
) -> dict[str, dict[str, Any]]:
    """For `beat_schedule`. A sweep enqueues all else that is due: there is no other entry.

    Pass REFRESH_SWEEP_SECONDS if you set it.
    """
    return {"spotify_auth": {"task": SWEEP, "schedule": sweep_seconds}}
