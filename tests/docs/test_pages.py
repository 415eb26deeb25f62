"""The examples of docs/how-to/write-a-page.md, run as they are written."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpResponse
from django.template import Context, Template
from django.test import RequestFactory

from accounts.models import User
from dev.process import ROOT
from tests.support.sandbox_client import SCOPES
from tests.support.tokens import Connect

pytestmark = pytest.mark.django_db

PAGE = "docs/how-to/write-a-page.md"


def examples(language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / PAGE).read_text(), re.DOTALL)


def view(name: str) -> Callable[..., HttpResponse]:
    """A view of the examples."""
    (source,) = [text for text in examples("python") if f"def {name}(" in text]
    module: dict[str, Any] = {}
    exec(compile(source, PAGE, "exec"), module)  # noqa: S102  (our own text)
    found: Callable[..., HttpResponse] = module[name]
    return found


@pytest.fixture
def user(connect: Connect) -> User:
    return connect("listener", due=False, scope=SCOPES)


@pytest.mark.parametrize(("name", "shows"), [("top_artists", "artists"), ("overview", "shown")])
def test_the_views_work(user: User, name: str, shows: str) -> None:
    request = RequestFactory().get("/", headers={"accept": "application/json"})
    request.user = user

    answer = view(name)(request)

    assert answer.status_code == 200
    assert f'"{shows}": '.encode() in answer.content
    assert b'"failed": {"' not in answer.content


def test_the_template_works(user: User) -> None:
    (template,) = examples("django")
    request = RequestFactory().get("/")
    request.user = user

    shown = Template(template).render(Context({"request": request}))

    assert "Connected until" in shown
    assert "Play" not in shown  # streaming was not granted
