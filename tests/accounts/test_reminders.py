"""Mails before the six months are over: to whom, when, how often, and what is in them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from smtplib import SMTPDataError, SMTPRecipientsRefused, SMTPServerDisconnected
from threading import Barrier, Event

import pytest
from django.core import mail
from django.core.mail import EmailMessage
from django.core.mail.backends.locmem import EmailBackend
from django.db import connection as database
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from accounts.models import ReconnectReminder, User
from accounts.reminders import remind
from spotify_auth import chores, connections
from spotify_auth.models import SpotifyToken
from tests.support.tokens import Connect

pytestmark = pytest.mark.django_db(transaction=True)


class RefusingBackend(EmailBackend):
    """A mail server that does not take the address of user-1."""

    def send_messages(self, messages: Sequence[EmailMessage]) -> int:
        if "user-1@example.com" in messages[0].to:
            raise SMTPRecipientsRefused({"user-1@example.com": (550, b"no such user")})
        return super().send_messages(messages)


class ParticularBackend(EmailBackend):
    """A mail server that finds something wrong with the mail to user-1."""

    def send_messages(self, messages: Sequence[EmailMessage]) -> int:
        if "user-1@example.com" in messages[0].to:
            raise SMTPDataError(554, b"message rejected")
        return super().send_messages(messages)


class BrokenBackend(EmailBackend):
    """A mail server that hangs up."""

    def send_messages(self, messages: Sequence[EmailMessage]) -> int:
        raise SMTPServerDisconnected


def listener(connect: Connect, persona: str = "user-1", *, left: timedelta) -> User:
    """Somebody with an address and so much time left."""
    user = connect(persona, due=False)
    User.objects.filter(pk=user.pk).update(email=f"{persona}@example.com")
    leave(user, left)
    return user


def leave(user: User, left: timedelta) -> None:
    """Let the six months end so soon; the mails that were sent were for this very end."""
    end = connections.database_now() + left
    SpotifyToken.objects.filter(pk=user.pk).update(reauthorize_by=end)
    ReconnectReminder.objects.filter(user=user).update(reauthorize_by=end)


@pytest.mark.parametrize(
    ("days_left", "mails"), [(31, 0), (29, 1), (8, 1), (6, 1), (0.5, 1), (-1, 0)]
)
def test_who_gets_a_mail(connect: Connect, days_left: float, mails: int) -> None:
    listener(connect, left=timedelta(days=days_left))

    assert remind() == mails == len(mail.outbox)


def test_three_mails_and_no_more(connect: Connect) -> None:
    user = listener(connect, left=timedelta(days=40))

    counts = []
    for days in (40, 29, 20, 8, 6.5, 3, 0.9, 0.1, -0.1):
        leave(user, timedelta(days=days))
        counts.append(remind() + remind())

    assert counts == [0, 1, 0, 0, 1, 0, 1, 0, 0]
    assert {message.to[0] for message in mail.outbox} == {"user-1@example.com"}


def test_the_mail_leads_to_a_page_with_a_button(connect: Connect, client: Client) -> None:
    user = listener(connect, left=timedelta(days=5))
    remind()
    (message,) = mail.outbox

    link = next(line for line in message.body.splitlines() if line.startswith("http"))

    assert link == f"http://127.0.0.1:8000{reverse('accounts:reconnect')}"
    assert str(user) in message.body
    page = client.get(link.removeprefix("http://127.0.0.1:8000")).content.decode()
    assert f'<form method="post" action="{reverse("accounts:login")}">' in page


@pytest.mark.parametrize("change", ["no address", "inactive", "disconnected"])
def test_nobody_is_bothered_without_reason(connect: Connect, change: str) -> None:
    user = listener(connect, left=timedelta(days=5))
    if change == "no address":
        User.objects.update(email="")
    elif change == "inactive":
        User.objects.update(is_active=False)
    else:
        connections.disconnect(user_id=user.pk)

    assert remind() == 0


def test_who_reconnects_meanwhile_gets_none(
    connect: Connect, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.EMAIL_BACKEND = f"{__name__}.BrokenBackend"
    user = listener(connect, left=timedelta(days=5))
    assert remind() == 0  # decided upon, and not sent: the mail server hung up
    assert "reminder_not_sent" in caplog.text
    settings.EMAIL_BACKEND = f"{__name__}.RefusingBackend"
    SpotifyToken.objects.filter(pk=user.pk).update(reauthorize_by=Now() + timedelta(days=180))

    assert remind() == 0
    assert not ReconnectReminder.objects.exists()


def test_a_mail_server_that_fails_gets_it_again(connect: Connect, settings: Settings) -> None:
    listener(connect, left=timedelta(days=5))
    backend = settings.EMAIL_BACKEND
    settings.EMAIL_BACKEND = f"{__name__}.BrokenBackend"
    assert remind() == 0
    settings.EMAIL_BACKEND = backend

    assert [remind(), remind()] == [1, 0]


@pytest.mark.parametrize("backend", ["RefusingBackend", "ParticularBackend"])
def test_a_refused_mail_does_not_hold_up_the_others(
    connect: Connect, settings: Settings, backend: str
) -> None:
    listener(connect, "user-1", left=timedelta(days=5))
    listener(connect, "user-2", left=timedelta(days=5))
    settings.EMAIL_BACKEND = f"{__name__}.{backend}"

    remind()

    assert [message.to for message in mail.outbox] == [["user-2@example.com"]]
    assert not ReconnectReminder.objects.filter(sent_at=None).exists()


def test_two_workers_send_each_mail_once(connect: Connect) -> None:
    for n in range(20):
        listener(connect, f"user-{n}", left=timedelta(days=5))
    together = Barrier(4)

    def work(_: int) -> int:
        together.wait(timeout=10)
        try:
            return remind()
        finally:
            database.close()

    with ThreadPoolExecutor(4) as pool:
        sent = sum(pool.map(work, range(4)))

    assert sent == len(mail.outbox) == 20
    assert len({message.to[0] for message in mail.outbox}) == 20


@pytest.mark.parametrize(
    ("address", "status", "stored"),
    [
        ("maya@example.com", 302, "maya@example.com"),
        ("", 302, ""),
        ("not an address", 400, "before@example.com"),
        ("a@example.com\nBcc: b@example.com", 400, "before@example.com"),
    ],
)
def test_people_enter_their_address(
    connect: Connect, client: Client, address: str, status: int, stored: str
) -> None:
    user = connect(due=False)
    User.objects.update(email="before@example.com")
    client.force_login(user)

    response = client.post(reverse("accounts:reminder"), {"email": address})

    assert response.status_code == status
    assert User.objects.get().email == stored


def test_sends_no_more_when_the_worker_stops(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener(connect, left=timedelta(days=20))
    monkeypatch.setattr(chores, "stopping", Event())
    chores.stopping.set()

    assert remind() == 0

    chores.stopping.clear()
    assert remind() == 1  # the rest waits for the next call
