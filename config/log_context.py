"""What every line of one request or task says besides: the ids by which its lines are found.

A request has `request_id`. A task has `task_id` and `worker`, and the `request_id` of the request
that sent it: Celery carries that in a header of the message.
"""

import re
from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

_WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{8,64}")

_NOTHING: Mapping[str, str] = MappingProxyType({})
_ids: ContextVar[Mapping[str, str]] = ContextVar("ids of log lines", default=_NOTHING)


def current() -> Mapping[str, str]:
    """The ids of what this thread does, by name, for each of its lines."""
    return _ids.get()


def begin(**ids: str) -> None:
    """Something with these ids begins in this thread; what was before is over."""
    _ids.set(ids)


def end() -> None:
    """It is over: the thread's next lines belong to nothing."""
    _ids.set(_NOTHING)


def is_request_id(value: object) -> bool:
    """Whether this may stand in a log line, on a page and in a header as it is."""
    return isinstance(value, str) and _WELL_FORMED.fullmatch(value) is not None


def send_request_id(headers: dict[str, Any], **kwargs: Any) -> None:
    """Before a task is sent: let it know whose request it serves (Celery's signal)."""
    if request_id := current().get("request_id"):
        headers["request_id"] = request_id


def task_begins(task_id: str, task: Any, **kwargs: Any) -> None:
    """Before a task runs (Celery's signal)."""
    request_id = getattr(task.request, "request_id", None)
    # Whoever may write to the broker may write a header.
    sent_by = {"request_id": str(request_id)} if is_request_id(request_id) else {}
    begin(**sent_by, task_id=task_id, worker=str(task.request.hostname))


def task_ended(**kwargs: Any) -> None:
    """After a task (Celery's signal)."""
    end()
