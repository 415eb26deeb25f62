"""Applications are told 30, 7 and 1 days before the six months are over, once each."""

from datetime import datetime, timedelta

import pytest
from django.db import connection as database
from django.db.models.functions import Now

from spotify_auth import connections, sentences, tasks
from spotify_auth.housekeeping import delete_expired
from spotify_auth.models import Notice, SpotifyToken
from spotify_auth.notices import reconnect_due
from spotify_auth.notices.reconnect_due import notice_all
from tests.support.signals import Heard
from tests.support.tokens import Connect, token_of

pytestmark = pytest.mark.django_db(transaction=True)


def leave(**left: float) -> datetime:
    """Let all tokens have so much time left; when it is over."""
    end = connections.database_now() + timedelta(**left)
    SpotifyToken.objects.update(reauthorize_by=end)
    return end


def told(heard: Heard) -> list[int]:
    found = [said["days"] for name, said in heard if name == "reconnect_due"]
    heard.clear()
    return found


@pytest.mark.parametrize(
    ("left", "days"),
    [
        ({"days": 31}, []),
        ({"days": 29}, [30]),
        ({"days": 6}, [7]),  # only the most urgent, if nothing ran for weeks
        ({"hours": 23}, [1]),
        ({"hours": -1}, []),
    ],
)
def test_is_told_once(
    connect: Connect, heard: Heard, left: dict[str, int], days: list[int]
) -> None:
    connect(due=False)
    leave(**left)

    for _ in range(2):
        notice_all()

    assert told(heard) == days


def test_says_what_there_is_to_do_and_by_when(connect: Connect, heard: Heard) -> None:
    user = connect(due=False)
    end = leave(days=6)
    notice_all()

    _, said = heard[-1]
    notice = Notice.objects.get(kind="token.reconnect_due")
    assert (said["user_id"], said["reauthorize_by"], said["notice_id"]) == (user.pk, end, notice.pk)
    assert said["sentence"] == notice.data["sentence"] == sentences.why_reconnect_due(7)
    assert datetime.fromisoformat(notice.data["reauthorize_by"]) == end
    keys = set(notice.data)
    assert keys == set(said) - {"signal", "sender", "notice_id", "at"}


def test_another_six_months_are_told_of_anew_and_house_keeping_causes_no_second(
    connect: Connect, heard: Heard
) -> None:
    connect(due=False)
    leave(days=29)
    notice_all()
    Notice.objects.update(at=Now() - timedelta(days=30.5))
    delete_expired()
    notice_all()
    assert told(heard) == [30]

    leave(days=28)  # as if the user had approved again, long ago
    notice_all()
    assert told(heard) == [30]
    Notice.objects.update(at=Now() - timedelta(days=32))
    delete_expired()
    assert not Notice.objects.exists()


def test_many_are_told_in_several_transactions_and_those_who_left_are_not(
    connect: Connect, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconnect_due, "AT_ONCE", 2)
    users = [connect(f"user-{n}", due=False) for n in range(6)]
    connections.disconnect(user_id=users[0].pk)
    leave(days=5)

    tasks.notice_reconnect_due()
    tasks.notice_reconnect_due()  # within the hour: nothing is looked at

    assert told(heard) == [7] * 5
    assert token_of(users[0]).status == "disconnected"


def test_looks_each_token_up_by_an_index() -> None:
    with database.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        cursor.execute(
            f"EXPLAIN {reconnect_due._NOTICE}", {**reconnect_due._SENTENCES, "at_once": 1}
        )
        plan = "\n".join(line for (line,) in cursor.fetchall())
        cursor.execute("RESET enable_seqscan")
    assert "spotify_auth_notice_once" in plan
