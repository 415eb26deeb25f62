"""Headers of every answer, over HTTP, error pages and static files included."""

from collections.abc import Iterator
from http import HTTPStatus

import pytest
import requests
from django.conf import settings
from django.test import Client
from django.urls import reverse

from accounts.models import User
from dev.process import free_port
from tests.support.processes import service_environment, web_process
from tests.support.tokens import Connect

PRIVATE = [
    "/",
    "/connection/",
    "/account/sessions/",
    "/no/such/page",
    "/admin/",
    "/api/dashboard-data",
]
FORBIDDEN = "/account/delete/"


@pytest.fixture
def site(transactional_db: None) -> Iterator[str]:
    """A web process as it is deployed, behind a proxy that speaks https to the world."""
    port = free_port()
    env = service_environment(
        spotify_url="http://127.0.0.1:9",
        redis_url=settings.REDIS_URL,
        HOST="127.0.0.1",
        PORT=str(port),
        WEB_CONCURRENCY="1",
        SPOTIFY_REDIRECT_URI="https://keeper.example/spotify/callback/",
        ALLOWED_HOSTS="keeper.example",
        TRUST_X_FORWARDED_PROTO="true",
    )
    web = web_process("web", env=env)
    try:
        web.ready()
        yield f"http://127.0.0.1:{port}"
        log = web.logs()
    finally:
        web.teardown()
    lines = [line for line in log.splitlines() if "DisallowedHost" in line]
    assert all(" WARNING django.security.DisallowedHost " in line for line in lines)
    assert len(lines) == 1  # and no traceback, which names it again


def headers() -> dict[str, str]:
    return {"Host": "keeper.example", "X-Forwarded-Proto": "https"}


@pytest.mark.slow
def test_every_answer_has_the_headers(site: str) -> None:
    staff = User.objects.create(username="staff", is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(staff)
    name = settings.SESSION_COOKIE_NAME
    key = client.cookies[name].value
    cookies = {name: key, f"__Host-{name}": key}
    seen = set()

    def get(path: str, *, known: bool, method: str = "GET", **more: str) -> requests.Response:
        answer = requests.request(
            method,
            site + path,
            headers={**headers(), **more},
            cookies=cookies if known else {},
            allow_redirects=False,
            timeout=20,
        )
        seen.add(answer.status_code)
        assert answer.headers["Permissions-Policy"].startswith("accelerometer=()"), path
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin", path
        if more.get("X-Forwarded-Proto") != "http" and more.get("Host") is None:
            hsts = answer.headers["Strict-Transport-Security"]
            assert hsts == "max-age=31536000; includeSubDomains", path
        return answer

    for path in (*PRIVATE, FORBIDDEN):
        assert "no-store" in get(path, known=True).headers["Cache-Control"], path
    for path in (*PRIVATE, "/static/css/site.css", "/spotify/callback/", "/favicon.ico"):
        get(path, known=False)
    assert "no-store" in get("/logout/", known=True, method="POST").headers["Cache-Control"]  # 403
    get("/", known=False, Host="evil.example")

    assert {200, 302, 400, 403, 404} <= seen


@pytest.mark.django_db
def test_a_page_of_nobody_may_be_kept() -> None:
    assert "no-store" not in Client().get("/").headers.get("Cache-Control", "")


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["accounts:logout", "accounts:end_all_sessions"])
def test_logging_out_clears_what_the_browser_kept(path: str) -> None:
    client = Client()
    client.force_login(User.objects.create(username="ada"))

    answer = client.post(reverse(path))

    assert answer.status_code == HTTPStatus.FOUND
    assert answer["Clear-Site-Data"] == '"cache"'
    assert "Clear-Site-Data" not in client.get("/").headers


@pytest.mark.django_db
def test_deleting_an_account_clears_it_too(connect: Connect) -> None:
    client = Client()
    client.force_login(connect())

    assert client.post(reverse("accounts:delete_account"))["Clear-Site-Data"] == '"cache"'


def test_a_form_in_another_charset_is_refused(client: Client) -> None:
    """Django would raise while it reads the form, and again in the page that says so."""
    answer = client.post(
        "/spotify/login/", "a=b", "application/x-www-form-urlencoded; charset=utf-7"
    )

    assert answer.status_code == 415
    assert client.post("/logout/", "a=b", "application/x-www-form-urlencoded").status_code == 302
