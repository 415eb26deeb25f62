"""Django's error reports without anything secret in them.

Django hides what it finds by name ("TOKEN", "SECRET"); here every local variable may be
a token, and the address of the log-in callback carries a code. So reports show the
traceback and nothing of the variables or of the request.
"""

from collections.abc import ItemsView
from types import FrameType
from typing import Any

from django.http import HttpRequest
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter


class WithoutVariables(SafeExceptionReporterFilter):
    """Shows no local variable of any frame, and no setting."""

    def get_safe_settings(self) -> dict[str, Any]:
        """Nothing: the addresses of servers carry passwords under harmless names."""
        return {}

    def get_traceback_frame_variables(
        self, request: HttpRequest | None, tb_frame: FrameType
    ) -> ItemsView[str, Any]:
        return {}.items()


class WithoutRequest(ExceptionReporter):
    """Reports an exception as though no request had led to it."""

    def __init__(self, request: HttpRequest | None, *args: Any, **kwargs: Any) -> None:
        super().__init__(None, *args, **kwargs)
        self.filter = WithoutVariables()
