"""Encryption keys from a function of the project's, for example one that asks a KMS.

TOKEN_ENCRYPTION_KEYS is then the function or its dotted path. It takes no argument and returns
what the setting could hold itself.
"""

import logging
import re
import threading
import time
from collections.abc import Callable, Sequence

from django.utils.module_loading import import_string

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
"""How long a failure is remembered: a KMS that is away is not asked for each token."""

Keys = Sequence[bytes] | str
Source = Callable[[], Keys] | str

_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def is_path(text: str) -> bool:
    """Whether this is the dotted path of a function. Keys in base64 have no dot in them."""
    return _PATH.fullmatch(text) is not None


class _Memory:
    """What each function returned, and when it failed. Threads ask one at a time."""

    def __init__(self) -> None:
        self._keys: dict[Source, Keys] = {}
        self._failed: dict[Source, tuple[float, str]] = {}
        self._lock = threading.Lock()

    def keys_from(self, source: Source) -> Keys:
        """Call the function once for this process. Raises ValueError if it fails."""
        if source in self._keys:
            return self._keys[source]
        with self._lock:
            if source not in self._keys:
                self._keys[source] = self._ask(source)
            return self._keys[source]

    def _ask(self, source: Source) -> Keys:
        failed_at, problem = self._failed.get(source, (0.0, ""))
        if not problem or time.monotonic() > failed_at + RETRY_SECONDS:
            try:
                keys = _call(source)
            except Exception as error:
                # Its message is the project's, and may hold anything.
                name, reason = _name(source), type(error).__name__
                if not problem:
                    logger.error("keys_not_available source=%s reason=%s", name, reason)
                problem = f"{name}, which should return the keys, failed with {reason}"
                self._failed[source] = time.monotonic(), problem
            else:
                if self._failed.pop(source, None):
                    logger.warning("keys_available source=%s", _name(source))
                return keys
        raise ValueError(problem)


def _call(source: Source) -> Keys:
    function = import_string(source) if isinstance(source, str) else source
    keys: Keys = function()
    return keys if isinstance(keys, str) else tuple(keys)


def _name(source: Source) -> str:
    return source if isinstance(source, str) else getattr(source, "__qualname__", "the function")


_memory = _Memory()
keys_from = _memory.keys_from
