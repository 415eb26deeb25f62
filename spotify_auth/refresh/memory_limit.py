"""Worker recycling: a process that has grown too large ends itself, gently.

Celery's `worker_max_memory_per_child` and `worker_max_tasks_per_child` replace the
children of a prefork pool; a pool of threads has none. Here the whole process gets the
signal that an operator would send: lanes finish the exchange in hand, the process ends,
and whatever runs the Procfile starts another.
"""

import logging
import os
import resource
import signal
import sys

from spotify_auth.conf import settings

logger = logging.getLogger(__name__)

# getrusage counts in KiB, on macOS in bytes.
_UNITS_PER_MIB = 1024 * 1024 if sys.platform == "darwin" else 1024


def end_if_too_large() -> None:
    """Send this process SIGTERM if it ever held more than WORKER_MAX_MEMORY_MIB; 0 is never."""
    limit = settings.WORKER_MAX_MEMORY_MIB
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // _UNITS_PER_MIB
    if limit and largest > limit:
        logger.warning("worker_recycled largest_mib=%s limit_mib=%s", largest, limit)
        os.kill(os.getpid(), signal.SIGTERM)
