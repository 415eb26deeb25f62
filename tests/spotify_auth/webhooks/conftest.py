"""What the tests of webhooks share: a real receiver, and an address in the database."""

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from spotify_auth.notices.models import Kind
from spotify_auth.webhooks import endpoints
from spotify_auth.webhooks.models import WebhookEndpoint
from tests.support.receiver import Receiver, receiving


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    settings.WEBHOOK_ALLOWED_NETWORKS = "127.0.0.0/8"
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def endpoint(db: None, receiver: Receiver) -> WebhookEndpoint:
    return endpoint_at(receiver.url)


def endpoint_at(url: str, *, kinds: tuple[Kind, ...] = tuple(Kind)) -> WebhookEndpoint:
    """An address that wants all, unless told otherwise."""
    made = WebhookEndpoint(name="the tests", url=url, kinds=[kind.value for kind in kinds])
    endpoints.give_secret(made)
    made.save(force_insert=True)
    return made
