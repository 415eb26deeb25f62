"""Each verb: on which states it works, and that both records are written or neither."""

import subprocess
import sys
from collections.abc import Callable

import pytest
from django.contrib.admin.models import LogEntry
from django.db import DataError
from django.db.models.functions import Now

from accounts.models import User
from dev.process import ROOT
from spotify_auth import connections, verbs
from spotify_auth.management.commands.tokens import SUBCOMMANDS
from spotify_auth.models import SpotifyToken, TokenEvent
from spotify_auth.verbs import Kind, Operator, Result
from tests.support.tokens import Connect, token_of

pytestmark = pytest.mark.django_db

STATES: dict[str, dict[str, object]] = {
    "well": {},
    "failing": {"failures": 2, "last_error": "http_503"},
    "suspected": {"failures": 1, "suspected_at": Now(), "last_error": "invalid_grant"},
    "paused": {"status": "paused"},
    "verdict": {"status": "reconnect_required", "last_error": "invalid_grant", "appeal_at": Now()},
    "final": {"status": "reconnect_required", "last_error": "invalid_grant"},
    "restored": {"status": "reconnect_required", "last_error": "backup_restored"},
    "by_admin": {"status": "reconnect_required", "last_error": "required_by_admin"},
    "erased": {"status": "revoked", "access_token": None, "refresh_token": None},
}
REMAINS = "reconnect_required"
WORKS: dict[str, dict[str, str]] = {
    "refresh": {"well": "active", "failing": "active"},
    "pause": dict.fromkeys(("well", "failing", "suspected"), "paused"),
    "resume": {"paused": "active"},
    "revoke": dict.fromkeys(set(STATES) - {"erased"}, "revoked"),
    "require_reconnect": dict.fromkeys(
        ("well", "failing", "suspected", "paused", "verdict"), REMAINS
    ),
    "believe": {"suspected": REMAINS},
    "forgive": {
        "failing": "active",
        "suspected": "active",
        "verdict": REMAINS,
        "final": REMAINS,
        "by_admin": "active",
    },
}
"""For each verb, on which states it works, and the status after it."""


@pytest.mark.parametrize("name", WORKS)
def test_a_verb_works_on_its_states_and_on_no_other(connect: Connect, name: str) -> None:
    user = connect(due=False)
    row = SpotifyToken.objects.filter(pk=user.pk)
    before = row.values().get()
    root = Operator.of(User.objects.create_superuser("root"))
    verb: Callable[..., Result] = getattr(verbs, name)

    for state, changes in STATES.items():
        row.update(**{**before, **changes})
        was = row.values().get()
        TokenEvent.objects.all().delete()
        LogEntry.objects.all().delete()

        result = verb(user.pk, operator=root, reason=" ticket\n17 ")

        works = state in WORKS[name]
        assert (result.kind is Kind.DONE) == works, (state, result)
        written = [(e.asked_by, e.reason, e.cause) for e in TokenEvent.objects.all()]
        assert written == [("root", "ticket 17", "admin")] * works, state
        messages = list(LogEntry.objects.values_list("change_message", flat=True))
        assert [message.endswith(": ticket 17") for message in messages] == [True] * works
        if works:
            assert token_of(user).status == WORKS[name][state], state
        else:
            assert row.values().get() == was, state
            assert result.kind is Kind.DOES_NOT_APPLY

    assert verb(0, operator=root, reason="r").sentence.startswith("There is no token")


@pytest.mark.parametrize("name", WORKS)
def test_neither_record_is_written_if_one_cannot_be(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    user = connect(due=False)
    state = next(iter(WORKS[name]))
    SpotifyToken.objects.update(**STATES[state])
    status = token_of(user).status
    nobody = Operator(name="root", user_id=0)  # LogEntry's foreign key is checked at the end
    monkeypatch.setattr(Operator, "note", _refuse)

    with pytest.raises(DataError):
        getattr(verbs, name)(user.pk, operator=nobody, reason="r")

    assert token_of(user).status == status
    assert not TokenEvent.objects.filter(cause="admin").exists()


def _refuse(self: Operator, what: str, **more: object) -> None:
    raise DataError


def test_without_an_administrator_there_is_an_event_and_no_record(connect: Connect) -> None:
    user = connect()

    verbs.pause(user.pk, operator=Operator.named("anna\n"), reason="r")

    assert TokenEvent.objects.filter(asked_by="anna", outcome="paused").exists()
    assert not LogEntry.objects.exists()


def test_a_project_without_the_admin_has_the_command() -> None:
    program = """
import django
from django.conf import settings
settings.configure(INSTALLED_APPS=[
    "django.contrib.auth", "django.contrib.contenttypes", "spotify_auth"])
django.setup()
from spotify_auth.management.commands.tokens import SUBCOMMANDS
print(len(SUBCOMMANDS))
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert ended.stdout.strip() == str(len(SUBCOMMANDS)), ended.stderr


@pytest.mark.parametrize("blank", ["", " \n", "\u200b"])
def test_a_blank_reason_or_name_is_refused(connect: Connect, blank: str) -> None:
    user = connect()

    for name in WORKS:
        with pytest.raises(ValueError, match="reason"):
            getattr(verbs, name)(user.pk, operator=Operator.named("anna"), reason=blank)
    with pytest.raises(ValueError, match="name"):
        Operator.named(blank)
    assert connections.disconnect(user_id=user.pk)
