"""`{% spotify_connection as spotify %}` in a template."""

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connection as database
from django.template import Context, Template
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from spotify_auth import connections
from spotify_auth.models import Cause, SpotifyToken
from tests.support.tokens import Connect, make_due, token_of

pytestmark = pytest.mark.django_db

TEMPLATE = Template(
    "{% load spotify %}{% spotify_connection as spotify %}"
    "{{ spotify.state }} {{ spotify.reason }} {{ spotify.expires_at|date:'Y' }}"
    "{% if 'user-top-read' in spotify.scopes %} may see the top{% endif %}"
)


def rendered(user: User | AnonymousUser) -> str:
    request = RequestFactory().get("/")
    request.user = user
    return " ".join(TEMPLATE.render(Context({"request": request})).split())


def test_shows_the_state_the_expiry_and_the_scopes(connect: Connect) -> None:
    user = connect(due=False)

    with CaptureQueriesContext(database) as queries:
        shown = rendered(user)

    assert shown == f"connected {token_of(user).expires_at:%Y} may see the top"
    assert len(queries) == 1


def test_a_stale_token_is_nudged(connect: Connect) -> None:
    user = connect()
    make_due(user, expired=True)

    assert rendered(user) == "reconnecting"
    assert token_of(user).due_cause == Cause.STALE_READ


def test_a_reconnect_has_its_reason(connect: Connect) -> None:
    user = connect(due=False)
    SpotifyToken.objects.update(status="reconnect_required", last_error="six_months_over")

    assert rendered(user) == "reconnect_required six_months_over"


def test_who_has_no_token_is_not_connected(connect: Connect) -> None:
    user = connect(due=False)
    connections.disconnect(user_id=user.pk)

    assert rendered(user) == rendered(AnonymousUser()) == "not_connected"


def test_a_template_never_gets_the_token(connect: Connect) -> None:
    user = connect(due=False)
    request = RequestFactory().get("/")
    request.user = user
    context = Context({"request": request})

    Template("{% load spotify %}{% spotify_connection as spotify %}").render(context)
    shown = Template(
        "{% load spotify %}{% spotify_connection as spotify %}{{ spotify }}{{ spotify.value }}"
    ).render(context)

    stored = token_of(user)
    assert stored.access_token
    assert stored.access_token not in shown
