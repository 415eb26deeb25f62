"""Error reports show where it happened, and nothing of what was in hand."""

import secrets
import sys
from collections.abc import Callable

import pytest
from django.conf import settings
from django.http import HttpRequest
from django.test import RequestFactory
from django.views.debug import technical_500_response

from config.error_reports import WithoutRequest

SECRET = secrets.token_hex(16)  # made at run time: the reports quote source lines


def fail_with_a_secret() -> None:
    in_hand = SECRET
    raise RuntimeError(f"failed with {len(in_hand)} characters")


def as_page(request: HttpRequest) -> str:
    return technical_500_response(request, *sys.exc_info()).content.decode()


def as_text(request: HttpRequest) -> str:
    return str(WithoutRequest(request, *sys.exc_info()).get_traceback_text())


@pytest.mark.parametrize("render", [as_page, as_text])
def test_reports_hide_variables_and_the_request(render: Callable[[HttpRequest], str]) -> None:
    request = RequestFactory().get(f"/spotify/callback/?code={SECRET}")
    request.COOKIES["sessionid"] = SECRET

    try:
        fail_with_a_secret()
    except RuntimeError:
        shown = render(request)

    assert "fail_with_a_secret" in shown
    assert SECRET not in shown
    assert settings.REDIS_URL not in shown
