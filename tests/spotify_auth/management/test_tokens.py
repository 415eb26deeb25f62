"""`manage.py tokens`: what it shows, what it does, to whom, and how it ends."""

import itertools
import json
import os
import pty
import signal
import subprocess
import sys
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection as database
from django.db import transaction
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.models import User
from dev.process import ROOT
from spotify_auth import cooldown, service_pause, verbs
from spotify_auth.cooldown import Reason
from spotify_auth.history import pruning
from spotify_auth.management import acting
from spotify_auth.management.pipes import INTERRUPTED, READER_LEFT
from spotify_auth.models import SpotifyToken, TokenEvent
from spotify_auth.verbs import Operator
from tests.support.database_faults import locked_elsewhere
from tests.support.lanes import refresh_next
from tests.support.paces import plant
from tests.support.processes import service_environment
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Connect, make_due, token_of

pytestmark = pytest.mark.django_db(transaction=True)

ORDER = ("--reason", "ticket 17", "--by", "anna", "--no-input")


def tokens(*arguments: str) -> str:
    """What the command writes. Raises CommandError."""
    out = StringIO()
    call_command("tokens", *arguments, stdout=out)
    return out.getvalue()


def refused(*arguments: str) -> tuple[str, int]:
    """The message and the exit code of a command that is not done."""
    with pytest.raises(CommandError) as caught:
        tokens(*arguments)
    return str(caught.value), caught.value.returncode


def test_nothing_that_is_stored_writes_to_the_terminal(connect: Connect) -> None:
    user = connect(due=False)
    escape = "\x1b]0;owned\x07\r"
    User.objects.update(username=f"maya{escape}")
    SpotifyToken.objects.update(account_id=f"maya{escape}", scope=f"streaming{escape}")
    TokenEvent.objects.update(error=f"odd{escape}"[:40], worker=escape)

    shown = tokens("status", str(user.pk)) + tokens("history", str(user.pk))
    shown += refused("resume", str(user.pk), *ORDER)[0]
    TokenEvent.objects.all().delete()
    shown += tokens("history", str(user.pk))

    assert "maya ]0;owned" in shown
    assert "streaming ]0;owned" in shown
    assert "odd ]0;owned" in shown
    assert shown.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("verb", "before", "after"),
    [
        ("refresh", "active", "active"),
        ("pause", "active", "paused"),
        ("resume", "paused", "active"),
        ("revoke", "active", "revoked"),
        ("require-reconnect", "active", "reconnect_required"),
        ("believe", "suspected", "reconnect_required"),
        ("forgive", "suspected", "active"),
    ],
)
def test_each_verb_is_done_recorded_and_not_done_again(
    connect: Connect, verb: str, before: str, after: str
) -> None:
    user = connect(due=False)
    suspected = before == "suspected"
    SpotifyToken.objects.update(
        status="active" if suspected else before, suspected_at=Now() if suspected else None
    )

    assert tokens(verb, f"pk:{user.pk}", *ORDER)

    assert token_of(user).status == after
    event = user.spotify_auth_events.first()
    assert event
    assert (event.cause, event.asked_by, event.reason) == ("admin", "anna", "ticket 17")
    _, code = refused(verb, f"pk:{user.pk}", *ORDER)
    assert code == 1


def test_users_have_several_names(connect: Connect) -> None:
    user = connect(due=False)
    User.objects.filter(pk=user.pk).update(username="maya", email="maya@example.org")
    assert user.account_id

    for name in (str(user.pk), "maya", "maya@example.org", user.account_id):
        assert json.loads(tokens("status", name, "--json"))["user_id"] == user.pk


def test_an_unknown_and_an_ambiguous_name_are_refused(connect: Connect) -> None:
    user = connect(due=False)
    other = User.objects.create(username=str(user.pk))

    # The last two: a letter of another encoding, and what Python takes for the number.
    for name in ("nobody", "pk:", "\udcff", f"0_{user.pk}"):
        said, code = refused("pause", name, *ORDER)
        assert (said.startswith("No user is "), code) == (True, 1)
    assert "nothing to do" in tokens("pause", "--last-error", "\udcff", *ORDER)
    said, _ = refused("pause", str(user.pk), *ORDER)
    assert f"Write pk:{user.pk} or pk:{other.pk}." in said
    assert token_of(user).status == "active"


def test_a_filter_takes_all_that_match_and_says_with_whom_it_was_not_done(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spotify_auth.management.people.AT_ONCE", 2)
    failing = [connect(f"user-{n}", due=False) for n in range(1, 6)]
    well = connect("user-7", due=False)
    SpotifyToken.objects.exclude(pk=well.pk).update(last_error="http_503", failures=1)
    SpotifyToken.objects.filter(pk=failing[0].pk).update(status="reconnect_required")

    assert "nothing to do" in tokens("pause", "--last-error", "http_500", *ORDER)
    out = StringIO()
    with pytest.raises(CommandError, match=r"Done for 4 of 5\.") as caught:
        call_command("tokens", "pause", "--last-error", "http_503", *ORDER, stdout=out)

    assert caught.value.returncode == acting.PARTLY
    assert f"user {failing[0].pk}: Reconnect is required" in out.getvalue()
    assert "pause: 5 of 5 rows" in out.getvalue()
    assert [token_of(user).status for user in failing[1:]] == ["paused"] * 4
    assert token_of(well).status == "active"
    said = tokens("resume", "--status", "paused", "--last-error", "http_503", *ORDER)
    assert "Done for 4 of 4." in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("pause", *ORDER), "Name users, or a filter"),
        (("pause", "pk:1", "--status", "active", *ORDER), "and not both"),
        (("pause", "--all", "pk:1", *ORDER), "neither users nor a filter"),
        (("pause", "--all", "--reason", " ", "--no-input"), "--reason is blank"),
        (("pause", "--all", "--reason", "\x07\u200b", "--no-input"), "--reason is blank"),
        (("pause", "--all", "--reason", "r", "--by", " "), "--by is blank"),
        (("history", "pk:1", "--limit", "0"), "--limit must be"),
        (("history", "pk:1", "--limit", str(2**63)), "--limit must be"),
        (("prune", "--older-than", "0"), "a day or more"),
        (("prune", "--older-than", str(2**31)), "a day or more"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple[str, ...], words: str) -> None:
    said, code = refused(*arguments)

    assert words in said
    assert code == 2


@pytest.mark.parametrize("library", ["allauth", "social-auth"])
def test_a_library_that_is_not_installed_has_no_tokens(library: str) -> None:
    for command in (("import", "--from"), ("export", "--to")):
        said, code = refused(*command, library)
        assert ("is not among INSTALLED_APPS" in said, code) == (True, 1)


def test_nothing_is_changed_without_a_yes(connect: Connect) -> None:
    user = connect(due=False)

    for arguments in (("revoke", f"pk:{user.pk}"), ("pause", "--all"), ("lift-cooldown",)):
        said, code = refused(*arguments, "--reason", "r")
        assert ("Nothing was changed" in said, code) == (True, 1)

    assert token_of(user).status == "active"
    assert not service_pause.current()


def test_who_is_named_in_the_question_and_nobody_else(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, later = connect("user-1", due=False), connect("user-2", due=False)
    asked = []

    def answer(question: str) -> bool:
        asked.append(question)
        for user, error in ((named, ""), (later, "http_503")):  # while the operator thinks
            SpotifyToken.objects.filter(pk=user.pk).update(last_error=error)
        return True

    monkeypatch.setattr(acting, "confirmed", answer)
    SpotifyToken.objects.filter(pk=named.pk).update(last_error="http_503")

    tokens("revoke", "--last-error", "http_503", "--reason", "r")

    assert asked == [f"revoke: user {named.pk}."]
    assert [token_of(user).status for user in (named, later)] == ["revoked", "active"]


def test_a_question_that_is_not_answered_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, ours = pty.openpty()
    with os.fdopen(terminal, "wb", buffering=0) as operator, os.fdopen(ours) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        operator.write(b"\x04")  # Ctrl-D
        said, code = refused("pause", "--all", "--reason", "r")
        assert ("Nothing was changed" in said, code) == (True, 1)
        operator.write(b"yes\n")
        tokens("pause", "--all", "--reason", "r")
        assert service_pause.current()

        def interrupted(_question: str) -> str:
            raise KeyboardInterrupt  # Ctrl-C

        monkeypatch.setattr("builtins.input", interrupted)
        assert refused("resume", "--all", "--reason", "r") == (said, 1)
    monkeypatch.setattr(sys, "stdin", None)  # as after <&-
    assert refused("resume", "--all", "--reason", "r") == (said, 1)


def test_ctrl_c_ends_a_command_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def wait_for_postgresql(_user: str) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("spotify_auth.management.people.find", wait_for_postgresql)

    with pytest.raises(SystemExit) as ended:
        tokens("history", "maya")

    assert ended.value.code == INTERRUPTED


def test_a_busy_row_may_be_tried_again(connect: Connect, settings: Settings) -> None:
    settings.TOKEN_ENDPOINT_DEADLINE_SECONDS = -2  # so that it waits for a second: 2 x -2 + 5
    user = connect(due=False)

    with locked_elsewhere(
        "SELECT FROM spotify_auth_spotifytoken WHERE user_id = %s FOR UPDATE", user.pk
    ):
        _, code = refused("pause", f"pk:{user.pk}", *ORDER)

    assert code == acting.PARTLY


def test_the_whole_service_is_paused_and_resumed_and_a_cooldown_lifted(connect: Connect) -> None:
    connect()
    assert refused("resume", "--all", *ORDER)[1] == 1
    tokens("pause", "--all", *ORDER)
    cooldown.start(Reason.RATE_LIMITED, seconds=60)

    found = json.loads(tokens("status", "--json"))
    assert (found["service_paused"]["by"], found["service_paused"]["reason"]) == (
        "anna",
        "ticket 17",
    )
    assert found["cooldown"]["reason"] == "rate_limited"
    assert found["cooldown"]["seconds_left"] > 50
    said = tokens("status")
    assert "service_paused.by" in said
    assert "rate_limited" in said

    tokens("resume", "--all", *ORDER)
    tokens("lift-cooldown", *ORDER)
    assert refresh_next() == "refreshed"


def test_status_counts_by_status(connect: Connect) -> None:
    late, paused, _ = (connect(f"user-{n}", due=False) for n in (1, 2, 3))
    make_due(late, expired=True)
    verbs.pause(paused.pk, operator=Operator.named("anna"), reason="r")

    found = json.loads(tokens("status", "--json"))

    assert found["tokens"] == {
        **dict.fromkeys(("reconnect_required", "disconnected", "revoked"), 0),
        "active": 2,
        "paused": 1,
    }
    assert (found["stale"], found["overdue"]) == (1, 1)
    assert found["oldest_overdue_seconds"] > 50
    assert (found["service_paused"], found["cooldown"], found["pace"]) == (None, None, None)


def test_status_shows_the_pace_beside_the_need(
    connect: Connect, no_cooldown: None, settings: Settings
) -> None:
    settings.ACCESS_TOKEN_LIFETIME_SECONDS = 10
    for n in range(9):
        connect(f"user-{n}")
    plant(0.87)

    assert json.loads(tokens("status", "--json"))["pace"] == {
        "allowed_a_second": 0.87,
        "needed": 1.2,
    }


def test_a_token_is_shown_with_its_history_and_without_itself(
    connect: Connect, spotify: Sandbox
) -> None:
    user = connect()
    refresh_next()
    token = token_of(user)

    said = tokens("status", str(user.pk)) + tokens("history", str(user.pk))
    said += tokens("status", str(user.pk), "--json") + tokens("history", str(user.pk), "--json")

    assert token.access_token
    assert token.refresh_token
    assert token.access_token[:12] not in said
    assert token.refresh_token[:12] not in said
    events = json.loads(tokens("history", str(user.pk), "--json"))
    assert [event["outcome"] for event in events] == ["refreshed", "connected"]
    assert len(tokens("history", str(user.pk), "--limit", "1").splitlines()) == 1
    nobody = User.objects.create(username="nobody")
    assert "never connected" in refused("status", "nobody")[0]
    assert "Nothing has happened" in tokens("history", str(nobody.pk))


def test_old_history_is_deleted_in_batches(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    user = connect()
    user.spotify_auth_events.all().delete()  # ids rise with time
    for days in (400, 91, 91, 50, 1, 0):
        TokenEvent.objects.create(
            user=user, at=Now() - timedelta(days=days), cause="login", outcome="connected"
        )
    monkeypatch.setattr(pruning, "STEP", 2)
    settings.TOKEN_EVENT_RETENTION_DAYS = 90

    assert "older than 500 days" in tokens("prune", "--older-than", "500")
    assert refused("prune")[1] == 1
    assert "Done. 3 events" in tokens("prune", "--no-input")
    assert "Done. 1 events" in tokens("prune", "--older-than", "30", "--no-input")
    assert user.spotify_auth_events.count() == 2


def test_what_is_to_be_deleted_is_counted_once(connect: Connect) -> None:
    """The previous version's routine events are too old as such, and as events."""
    user = connect()
    user.spotify_auth_events.all().delete()
    for days in (500, 60, 1):
        TokenEvent.objects.create(
            user=user, at=Now() - timedelta(days=days), cause="schedule", outcome="refreshed"
        )

    assert pruning.count_old() == pruning.count_old(older_than=30) == 2
    assert "Done. 2 events" in tokens("prune", "--no-input")


def test_no_query_reads_a_whole_table(connect: Connect) -> None:
    connect()
    with transaction.atomic(), database.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # rows without their users
        cursor.execute(
            """
            INSERT INTO spotify_auth_spotifytoken (
                user_id, status, access_token, refresh_token, scope, generation, authorized_at,
                reauthorize_by, refreshed_at, expires_at, due_at, due_cause, failures, last_error)
            SELECT 1000000 + n, CASE WHEN n % 1000 = 0 THEN 'paused' ELSE 'active' END, 'a', 'r',
                   '', 1, now(), now() + interval '6 months', now(), now() + interval '1 hour',
                   now() + interval '45 minutes', 'schedule', 0,
                   CASE WHEN n % 1000 = 1 THEN 'http_503' ELSE '' END
            FROM generate_series(1, 100000) AS n;
            INSERT INTO spotify_auth_tokenevent (user_id, cause, outcome, rotated, worker, error)
            SELECT 1000000 + n, 'schedule', 'refreshed', false, '', ''
            FROM generate_series(1, 100000) AS n;
            INSERT INTO spotify_auth_routineevent (user_id, rotated)
            SELECT 1000000 + n, false FROM generate_series(1, 100000) AS n;
            INSERT INTO spotify_auth_foldedevent (id, user_id, rotated, began_at, refreshes)
            SELECT n, 1000000 + n, false, now(), '{0, 200}' FROM generate_series(1, 100000) AS n;
            ANALYZE spotify_auth_spotifytoken, spotify_auth_tokenevent
            """
        )
    user = User.objects.get()
    with CaptureQueriesContext(database) as queries:
        tokens("status")
        tokens("status", str(user.pk))
        tokens("history", str(user.pk))
        for chosen in (("--last-error", "http_503"), ("--status", "paused")):
            refused("resume", *chosen, "--reason", "r")  # counted, and asked about
        tokens("pause", f"pk:{user.pk}", *ORDER)
        tokens("prune", "--older-than", "30")

    # Not for the sake of speed: a table as small as these is read whole.
    small = ("servicepause", "chore", "accounts_user", "rolledup", "historymark", "statuscount")
    with database.cursor() as cursor:
        for query in queries.captured_queries:
            if query["sql"].startswith(("SELECT", "WITH", "\nWITH")):
                cursor.execute(f"EXPLAIN {query['sql']}")
                plan = "\n".join(line for (line,) in cursor.fetchall())
                # A LIMIT right above a scan is what bounds it.
                steps = itertools.pairwise(["", *plan.splitlines()])
                read = [step for above, step in steps if "Limit" not in above]
                scans = [step for step in read if "Seq Scan on" in step]
                assert not [scan for scan in scans if not any(s in scan for s in small)], plan
    assert len(queries) > 15


def test_the_exit_codes_of_processes(
    connect: Connect, spotify: Sandbox, settings: Settings
) -> None:
    user, paused = connect("user-1", due=False), connect("user-2", due=False)
    verbs.pause(paused.pk, operator=Operator.named("anna"), reason="r")
    both = ("pause", str(user.pk), str(paused.pk), "--reason", "r", "--no-input")
    runs = [
        (0, ("status", "--json")),
        (2, ("pause", str(user.pk))),
        (acting.PARTLY, both),
    ]
    started = [
        subprocess.Popen(
            [sys.executable, "manage.py", "tokens", *arguments],
            cwd=ROOT,
            env=service_environment(spotify_url=spotify.url, redis_url=settings.REDIS_URL),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _, arguments in runs
    ]

    ended = [process.communicate(timeout=60) for process in started]

    assert [process.returncode for process in started] == [code for code, _ in runs], ended
    assert json.loads(ended[0][0])["tokens"]["active"] >= 0
    assert "--reason" in ended[1][1]
    assert "Done for 1 of 2." in ended[2][1]
    assert user.spotify_auth_events.get(outcome="paused").asked_by


def test_a_reader_who_leaves_gets_no_traceback(
    connect: Connect, spotify: Sandbox, settings: Settings
) -> None:
    user = connect("user-1", due=False)
    reader, writer = os.pipe()
    os.close(reader)  # as `| head` does, when it has read enough

    started = [
        subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=service_environment(spotify_url=spotify.url, redis_url=settings.REDIS_URL),
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
        )
        for arguments in (
            ("tokens", "history", f"pk:{user.pk}"),
            ("tokens", "pause", f"pk:{user.pk}", *ORDER),
            ("doctor", "--only", "pause"),
        )
    ]
    os.close(writer)
    ended = [process.communicate(timeout=60)[1] for process in started]

    assert [process.returncode for process in started] == [READER_LEFT] * 3, ended
    assert not [said for said in ended if "Broken" in said or "Traceback" in said]
    assert user.spotify_auth_events.filter(outcome="paused").exists()
