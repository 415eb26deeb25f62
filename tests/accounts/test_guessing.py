"""Guessing at the admin's password over HTTP: a real gunicorn, and sixteen connections."""

import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
import requests
from django.conf import settings

from accounts.models import User
from dev.process import free_port
from tests.support.admin import PASSWORD
from tests.support.processes import LocalProcess, service_environment, web_process
from tests.support.tokens import forget

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def site(no_cooldown: None) -> Iterator[tuple[str, LocalProcess]]:
    """The address of the site, and the web server behind it."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    env = service_environment(
        spotify_url="http://127.0.0.1:9",
        redis_url=settings.REDIS_URL,
        HOST="127.0.0.1",
        PORT=str(port),
        SPOTIFY_REDIRECT_URI=f"{url}/spotify/callback/",
        WEB_CONCURRENCY="1",
        WEB_THREADS="16",
    )
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        forget(client, "accounts:tries:*")
    web = web_process("web", env=env)
    try:
        web.ready()
        yield url, web
    finally:
        web.teardown()


def type_in(url: str, password: str, **headers: str) -> requests.Response:
    """The form of a browser of its own."""
    with requests.Session() as session:
        session.trust_env = False
        page = session.get(f"{url}/admin/login/", timeout=30).text
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        assert token
        form = {"username": "root", "password": password, "csrfmiddlewaretoken": token[1]}
        return session.post(
            f"{url}/admin/login/", form, headers=headers, timeout=30, allow_redirects=False
        )


def test_of_96_passwords_at_once_five_are_looked_at(site: tuple[str, LocalProcess]) -> None:
    url, web = site
    root = User.objects.create_superuser("root", password=PASSWORD)

    with ThreadPoolExecutor(16) as pool:
        # From "other" addresses, which nobody has to believe.
        answers = list(
            pool.map(
                lambda n: type_in(url, f"wrong {n}", **{"X-Forwarded-For": f"192.0.2.{n}"}),
                range(96),
            )
        )

    assert Counter(answer.status_code for answer in answers) == {200: 5, 429: 91}
    assert type_in(url, PASSWORD).status_code == 429
    refused = [answer for answer in answers if answer.status_code == 429]
    assert all(0 < int(answer.headers["Retry-After"]) <= 900 for answer in refused)
    assert all("Too many passwords were tried" in answer.text for answer in refused)
    log = web.logs()
    failed = f"admin_login_failed user_id={root.pk} reason=password address=127.0.0.1"
    assert log.count(failed) == 5
    assert log.count("admin_login_locked_out address=127.0.0.1") == 92
