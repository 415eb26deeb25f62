"""One address for the site: a login works wherever it is begun."""

import pytest
from django.test import Client
from pytest_django import Settings

from tests.support.login import log_in
from tests.support.sandbox_client import Sandbox

pytestmark = pytest.mark.django_db

HOME = "http://127.0.0.1:8000"


@pytest.mark.parametrize("host", ["localhost:8000", "www.example.test", "[::1]:8000"])
@pytest.mark.parametrize("method", ["get", "head"])
def test_visitors_of_another_host_are_sent_to_that_of_the_redirect_uri(
    client: Client, settings: Settings, host: str, method: str
) -> None:
    settings.ALLOWED_HOSTS = ["localhost", "www.example.test", "[::1]"]

    response = getattr(client, method)("/connection/?a=b", headers={"host": host})

    assert (response.status_code, response["Location"]) == (302, f"{HOME}/connection/?a=b")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:9999"])  # a proxy's port
def test_visitors_of_the_right_host_stay(client: Client, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 200


def test_a_site_on_an_ipv6_address_is_at_home_there(client: Client, settings: Settings) -> None:
    settings.SPOTIFY_REDIRECT_URI = "http://[::1]:8000/spotify/callback/"
    settings.ALLOWED_HOSTS = ["[::1]"]

    assert client.get("/", headers={"host": "[::1]:8000"}).status_code == 200


def test_a_host_that_is_not_served_is_refused(client: Client) -> None:
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400


def test_a_form_is_not_redirected(client: Client, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["www.example.test"]

    response = client.post("/logout/", headers={"host": "www.example.test"})

    assert response["Location"] == "/"


def test_a_login_that_begins_on_another_host_works(settings: Settings, spotify: Sandbox) -> None:
    settings.ALLOWED_HOSTS = ["127.0.0.1", "www.example.test"]
    sent = Client(headers={"host": "www.example.test"}).get("/")
    browser = Client(headers={"host": "127.0.0.1:8000"})

    assert browser.get(sent["Location"].removeprefix(HOME)).status_code == 200
    assert log_in(browser, spotify).status_code == 302


def by_proxy(settings: Settings) -> Client:
    """A browser at the site's address, behind a proxy that replaces Host."""
    settings.ALLOWED_HOSTS = ["127.0.0.1", "backend.internal"]
    headers = {"host": "backend.internal", "x-forwarded-host": "127.0.0.1:8000"}
    return Client(enforce_csrf_checks=True, headers=headers)


def test_behind_a_proxy_that_replaces_host_forms_work_with_the_setting(settings: Settings) -> None:
    settings.USE_X_FORWARDED_HOST = True
    browser = by_proxy(settings)

    page = browser.get("/")
    sent = browser.post(
        "/spotify/login/",
        {"csrfmiddlewaretoken": page.context["csrf_token"]},
        headers={"origin": HOME},
    )

    assert page.status_code == 200
    assert (sent.status_code, sent["Location"].startswith("http")) == (302, True)


def test_that_header_is_ignored_without_the_setting(settings: Settings) -> None:
    assert by_proxy(settings).get("/").status_code == 302
