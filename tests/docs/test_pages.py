"""The examples of docs/how-to/write-a-page.md and docs/tutorial.md, run as they are written."""

import inspect
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from django.http import HttpResponse
from django.template import Context, Template
from django.test import RequestFactory
from django.urls import path
from django.utils import timezone
from jsonschema import Draft202012Validator
from pytest_django import Settings

from accounts.models import User
from dev.process import ROOT
from spotify_auth.sentences import why_reconnect
from spotify_auth.webhooks import signing
from tests.support.asynchronous import run_async
from tests.support.sandbox_client import SCOPES
from tests.support.tokens import Connect, make_due, token_of

pytestmark = pytest.mark.django_db

PAGE, TUTORIAL = "docs/how-to/write-a-page.md", "docs/tutorial.md"


def examples(language: str, *, page: str = PAGE) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def view(name: str, *, page: str = PAGE) -> Callable[..., HttpResponse]:
    """A view of the examples."""
    (source,) = [text for text in examples("python", page=page) if f"def {name}(" in text]
    module: dict[str, Any] = {}
    exec(compile(source, page, "exec"), module)  # noqa: S102  (our own text)
    found: Callable[..., HttpResponse] = module[name]
    return found


@pytest.fixture
def user(connect: Connect) -> User:
    return connect("listener", due=False, scope=SCOPES)


@pytest.mark.parametrize(
    ("name", "shows"),
    [("top_artists", "artists"), ("now_playing", "playing"), ("overview", "shown")],
)
def test_the_views_work(user: User, name: str, shows: str) -> None:
    request = RequestFactory().get("/", headers={"accept": "application/json"})
    request.user = user

    answer = view(name)(request)

    assert answer.status_code == 200
    assert f'"{shows}": '.encode() in answer.content
    assert b'"failed": {"' not in answer.content


def test_the_async_view_works(user: User) -> None:
    request = RequestFactory().get("/")

    async def auser() -> User:
        return user

    request.auser = auser
    player: Any = view("player", page="docs/how-to/read-in-async-views.md")

    assert json.loads(run_async(player, request).content)["state"] == "connected"
    make_due(user, expired=True)
    assert json.loads(run_async(player, request).content)["state"] == "reconnecting"


def test_the_async_views_of_pages_work(user: User, settings: Settings, tmp_path: Path) -> None:
    page = "docs/how-to/read-in-async-views.md"
    (template,) = examples("django", page=page)
    (tmp_path / "start.html").write_text(template)
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    request = RequestFactory().get("/")
    request.user = user
    overview: Any = view("overview", page=page)
    start: Any = view("start", page=page)
    top_genres: Any = view("top_genres", page=page)

    answer = json.loads(run_async(overview, request).content)

    assert (sorted(answer["shown"]), answer["failed"]) == (["lists", "top"], {})
    assert b"Music: " in run_async(start, request).content
    assert json.loads(run_async(top_genres, request).content) == {"found": [5, 5]}


def test_the_template_works(user: User) -> None:
    (template,) = examples("django")
    request = RequestFactory().get("/")
    request.user = user

    with timezone.override("Asia/Tokyo"):
        shown = Template(template).render(Context({"request": request}))

    assert f"Connected until {token_of(user).expires_at:%H:%M:%S} UTC" in shown
    assert "Play" not in shown  # streaming was not granted


def test_the_page_of_the_tutorial_works(user: User, settings: Settings, tmp_path: Path) -> None:
    (template,) = examples("django", page=TUTORIAL)
    (tmp_path / "music").mkdir()
    (tmp_path / "music/top_artists.html").write_text(template)
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    request = RequestFactory().get("/music/")
    request.user = user

    answer = view("top_artists", page=TUTORIAL)(request)

    assert answer.status_code == 200
    assert b"<li dir=" in answer.content


def test_the_address_of_the_tutorial_is_a_line_of_the_urls() -> None:
    _, lines = examples("python", page=TUTORIAL)
    module: dict[str, Any] = {"urlpatterns": [], "path": path}
    music = ModuleType("music")
    music.views = SimpleNamespace(top_artists=view("top_artists", page=TUTORIAL))  # type: ignore[attr-defined]

    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(sys.modules, "music", music)
        exec(lines, module)  # noqa: S102  (our own text)

    assert [each.name for each in module["urlpatterns"]] == ["top_artists"]


def test_the_receiver_of_webhooks_takes_each_once_and_only_ours(settings: Settings) -> None:
    page = "docs/how-to/receive-webhooks.md"
    receive = view("receive", page=page)
    told: list[tuple[str, dict[str, Any]]] = []
    inspect.unwrap(receive).__globals__["enqueue"] = lambda kind, data: told.append((kind, data))
    settings.KEEPER_WEBHOOK_SECRET = secret = signing.new_secret()
    (example,) = examples("json", page=page)
    body = json.dumps(json.loads(example)).encode()

    def answer(body: bytes, *, with_secret: str) -> int:
        headers = signing.headers("msg_1", int(time.time()), body, with_secrets=[with_secret])
        kind = "application/json"
        request = RequestFactory().post("/", body, content_type=kind, headers=headers)
        return receive(request).status_code

    assert answer(body, with_secret=signing.new_secret()) == 400
    assert [answer(body, with_secret=secret) for _ in range(2)] == [204, 204]
    assert [kind for kind, _ in told] == ["token.reconnect_required"]
    schema = json.loads((ROOT / "docs/reference/webhook.schema.json").read_text())
    Draft202012Validator(schema).validate(json.loads(example))
    assert json.loads(example)["data"]["sentence"] == why_reconnect("six_months_over")
