"""What cannot be moved is one line with its reason, and the rest is moved."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from pytest_django import Settings

from accounts.models import User
from spotify_auth.importing.candidates import LONGEST_TOKEN, Candidate
from spotify_auth.importing.moving import End, move
from spotify_auth.importing.source import Choices
from spotify_auth.importing.spotipy_cache import SpotipyCacheSource
from spotify_auth.models import SpotifyToken
from tests.support.imports import (
    CLIENT,
    InAllauth,
    InCacheFiles,
    InSessions,
    InSocialAuth,
    counts,
    model,
    run,
    token_info,
)
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Connect, token_of

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("other_keepers_tables"),
]
SECRET = "BQsecretAccessToken"
REFRESH = "AQsecretRefreshToken"
HEADER = "user,access_token,refresh_token,expires_at,scope,authorized_at,account_id\n"


def reasons(said: str) -> dict[str, str]:
    """The reasons by their places."""
    return dict(re.findall(r"^  (\S.*?)(?: \(user \d+\))?: (.+)$", said, re.MULTILINE))


def test_lines_of_a_csv_file(spotify: Sandbox, lanes: None, tmp_path: Path) -> None:
    users = [User.objects.create(username=f"user-{number}") for number in range(3)]
    one, two, three = (user.pk for user in users)
    answers = list(spotify.connect(["user-1", "user-2"]).values())
    good = [
        f"{pk},{answer['access_token']},{answer['refresh_token']},0,,,"
        for pk, answer in zip((one, two), answers, strict=True)
    ]
    lines: list[tuple[str, str]] = [
        (good[0], ""),
        (f"{three},{SECRET},,,,,", "no refresh token"),
        (f"{three},,{REFRESH},,,,", "no access token"),
        (f"999999,{SECRET},{REFRESH},,,,", "no such user"),
        (f"{REFRESH},{SECRET},{REFRESH},,,,", "no such user"),
        (f"{2**70},{SECRET},{REFRESH},,,,", "no such user"),
        (f",{SECRET},{REFRESH},,,,", "no such user"),
        (f"{three},{SECRET},{'x' * (LONGEST_TOKEN + 1)},,,,", "too long"),
        (f"{three},{SECRET},{REFRESH}\x07,,,,", "characters that no token has"),
        (f"{three},{SECRET},{REFRESH} twice,,,,", "characters that no token has"),
        (f"{three},{SECRET},{REFRESH}\0,,,,", "NUL"),
        (f"{three},{SECRET},{REFRESH},,,", "6 values for 7 columns"),
        (f'{three},{SECRET},"{REFRESH},,,,', "no CSV"),
        (f"{three},{SECRET},{REFRESH},tomorrow,,,", "expires_at is no time"),
        (f"{three},{SECRET},{REFRESH},2026-11-26T03:00:00,,,", "no time zone"),
        (f"{three},{SECRET},{REFRESH},1e300,,,", "expires_at is no time"),
        (f"{three},{SECRET},{REFRESH},1795737600000,,,", "expires_at"),
        (f"{three},{SECRET},{REFRESH},0001-01-01T00:00:00+01:00,,,", "expires_at is no time"),
        (f"{three},{SECRET},{REFRESH},,,1,", "before there was Spotify"),
        (f"{three},{SECRET},{REFRESH},,sc\x00ope,,", "NUL"),
        (f"{three},{SECRET},{REFRESH},,,2099-01-01T00:00:00Z,", "in the future"),
        (f"{three},{SECRET},{REFRESH},,,,{'a' * 256}", "account_id"),
        ("x" * 40_000, "longer than"),
        ("", ""),
        (good[1], ""),
        (good[0], ""),  # a second time
    ]
    path = tmp_path / "tokens.csv"
    body = HEADER + "".join(f"{line}\n" for line, _ in lines)
    path.write_bytes(body.encode() + b"\xff\xfe,x,y,,,,\n")
    arguments = ("--from", "csv", "--file", str(path), *CLIENT)

    rehearsed = run("import", *arguments)
    assert not SpotifyToken.objects.exists()
    moved = run("import", *arguments, "--apply")

    for ran in (rehearsed, moved):
        assert ran.code == 3
        found = reasons(ran.said)
        for number, (_, reason) in enumerate(lines, start=2):
            place = f"line {number}"
            if reason == "in the future" and ran is rehearsed:
                continue  # only PostgreSQL's clock tells
            assert (reason in found[place]) if reason else place not in found, (place, found)
        assert found[f"line {len(lines) + 2}"] == "the line is no UTF-8"
        everything = ran.said + ran.message
        assert not any(word in everything for word in (SECRET, REFRESH, "AQ", "BQ"))
        assert not any(answer["refresh_token"] in everything for answer in answers)
    assert set(SpotifyToken.objects.values_list("pk", flat=True)) == {one, two}
    assert "       1  stay" in moved.said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "The first line must name"),
        (b"user,access_token\n", "The first line must name"),
        (b"user;access_token;refresh_token\n", "with commas"),  # as a spreadsheet may write it
        ("user,access_token,refresh_token\n".encode("utf-16"), "in UTF-8"),
        (f"{REFRESH},{SECRET}\n".encode(), "The first line must name"),
        (b"user,user,access_token,refresh_token\n", "a column twice"),
        (b"user,access_token,refresh_token,password\n", "not known"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_table_is_refused(
    tmp_path: Path, content: bytes | None, words: str, db: None
) -> None:
    path = tmp_path / "tokens.csv"
    if content is not None:
        path.write_bytes(content)

    ran = run("import", "--from", "csv", "--file", str(path), *CLIENT)

    assert (ran.code, words in ran.message) == (1, True)
    assert REFRESH not in ran.message


def test_rows_of_allauth(spotify: Sandbox, lanes: None, tmp_path: Path, settings: Settings) -> None:
    place = InAllauth(tmp_path)
    names = [f"user-{number}" for number in range(6)]
    users = place.fill(spotify, names)
    token, app = model("socialaccount", "SocialToken"), model("socialaccount", "SocialApp")
    keys = [row.pk for row in token.objects.order_by("pk")]
    of_another = app.objects.create(provider="spotify", client_id="other", secret="s")
    by_pkce = app.objects.create(provider="spotify", client_id=Sandbox.client_id, secret="")
    token.objects.filter(pk=keys[0]).update(token_secret="")
    token.objects.filter(pk=keys[1]).update(app=of_another)
    token.objects.filter(pk=keys[2]).update(app=by_pkce)
    token.objects.filter(pk=keys[3]).update(app=None)  # the application is in the settings
    # The last user has two accounts, of which this is the older one.
    account = model("socialaccount", "SocialAccount").objects
    account.filter(socialtoken=keys[4]).update(user=users[5])

    said = run("import", *place.arguments).said

    assert reasons(said) == {
        f"SocialToken {keys[0]}": "no refresh token",
        f"SocialToken {keys[1]}": "it was granted to another application",
        f"SocialToken {keys[2]}": "its application has no client secret: a token of PKCE alone "
        "is not for a server",
        f"SocialToken {keys[3]}": "it was granted to another application",
        f"SocialToken {keys[4]}": "another Spotify account of this user is newer: that one is "
        "taken",
    }
    spotify_app = {"client_id": Sandbox.client_id, "secret": "s"}
    settings.SOCIALACCOUNT_PROVIDERS = {"spotify": {"APPS": [spotify_app]}}
    report = counts(*place.arguments, "--apply")
    assert (report["moved"], report["bad"], report["older_accounts"]) == (2, 3, 1)
    assert token.objects.get(pk=keys[4]).token_secret
    # Once more: the older account does not become the newest.
    again = counts(*place.arguments, "--apply")
    assert (again["moved"], again["older_accounts"]) == (0, 1)


def test_rows_of_social_auth(spotify: Sandbox, lanes: None, tmp_path: Path) -> None:
    place = InSocialAuth(tmp_path)
    users = place.fill(spotify, [f"user-{number}" for number in range(8)])
    rows = model("social_django", "UserSocialAuth").objects
    keys = [row.pk for row in rows.order_by("pk")]

    def change(number: int, **changes: Any) -> None:
        row = rows.get(pk=keys[number])
        rows.filter(pk=row.pk).update(extra_data={**row.extra_data, **changes})

    rows.filter(pk=keys[0]).update(extra_data=f'{{"refresh_token": "{REFRESH}"}}')
    change(1, refresh_token=["a", "list"])
    change(2, refresh_token=None)
    change(3, expires={"in": 3600})
    change(4, auth_time="yesterday")
    change(5, expires=3600, scope="user-top-read", auth_time=1_700_000_000)
    impossible = "expires is no time"
    for wrong in (-1e300, "9" * 5000, -1e12):
        change(7, expires=wrong)
        assert reasons(run("import", *place.arguments).said)[f"UserSocialAuth {keys[7]}"] == (
            impossible
        )
    change(7, expires=None)
    rows.filter(pk=keys[6]).update(user=users[7])

    said = run("import", *place.arguments).said

    assert reasons(said) == {
        f"UserSocialAuth {keys[0]}": "extra_data is no JSON object",
        f"UserSocialAuth {keys[1]}": "the refresh token is no text",
        f"UserSocialAuth {keys[2]}": "no refresh token",
        f"UserSocialAuth {keys[3]}": "expires is no time",
        f"UserSocialAuth {keys[4]}": "auth_time is no time: write 2026-11-26T03:00:00+00:00",
        f"UserSocialAuth {keys[6]}": "another Spotify account of this user is newer: that one "
        "is taken",
    }
    assert REFRESH not in said
    report = counts(*place.arguments, "--apply")
    assert (report["moved"], report["bad"], report["approval_unknown"]) == (2, 5, 1)
    # It was refreshed there since, so nobody knows when its user approved.
    assert not SpotifyToken.objects.get(pk=users[5].pk).authorized_at_known
    assert SpotifyToken.objects.get(pk=users[7].pk).authorized_at_known


def test_files_of_spotipy(spotify: Sandbox, lanes: None, tmp_path: Path) -> None:
    place = InCacheFiles(tmp_path)
    place.fill(spotify, ["user-1"])
    User.objects.create(username="maya")
    contents = {
        ".cache-nobody": json.dumps({"refresh_token": REFRESH}),
        ".cache-maya": '{"refresh_token": "' + REFRESH,
        "unrelated": REFRESH,
    }
    for name, content in contents.items():
        (tmp_path / name).write_text(content)

    ran = run("import", *place.arguments, "--apply")

    assert reasons(ran.said) == {".cache-nobody": "no such user", ".cache-maya": "it is no JSON"}
    assert "       1  moved" in ran.said
    assert {path.name for path in tmp_path.iterdir()} == set(contents)
    for content in ("[]", '"text"', "[" * 60_000, json.dumps({"a": "b" * 70_000}), ""):
        (tmp_path / ".cache-maya").write_text(content)
        assert ".cache-maya" in reasons(run("import", *place.arguments).said)
    (tmp_path / ".cache-maya").unlink()
    (tmp_path / ".cache-maya").symlink_to(tmp_path / "unrelated")
    assert reasons(run("import", *place.arguments).said)[".cache-maya"] == "it is no plain file"
    (tmp_path / ".cache-maya").unlink()
    os.mkfifo(tmp_path / ".cache-maya")
    assert reasons(run("import", *place.arguments).said)[".cache-maya"] == "it is no plain file"


def test_a_username_that_looks_like_a_file_put_aside(
    spotify: Sandbox, lanes: None, tmp_path: Path
) -> None:
    place = InCacheFiles(tmp_path)
    User.objects.create(username="maya")
    answers = spotify.connect(["user-1", "user-2"]).values()
    for suffix, answer in zip(("", f"-{'0' * 32}"), answers, strict=True):
        name = f"maya.importing-20260101T000000000000Z{suffix}"
        place.put(User.objects.create(username=name), answer)

    ran = run("import", *place.arguments, "--apply")

    assert "       2  moved" in ran.said
    assert not SpotifyToken.objects.filter(user__username="maya").exists()


def test_a_file_that_becomes_a_link_to_another_users(spotify: Sandbox, tmp_path: Path) -> None:
    place = InCacheFiles(tmp_path)
    for name, answer in spotify.connect(["user-1", "user-2"]).items():
        place.put(User.objects.create(username=name), answer)
    source = SpotipyCacheSource(Choices(client_id=Sandbox.client_id, path=tmp_path))
    source.open()
    found = {each.place: each for each in source.found() if isinstance(each, Candidate)}
    (tmp_path / ".cache-user-2").unlink()
    (tmp_path / ".cache-user-2").symlink_to(tmp_path / ".cache-user-1")

    moved = move(source, found[".cache-user-2"], due_at=None)

    assert moved == (End.BAD, "it is no plain file")
    assert not SpotifyToken.objects.exists()


def test_a_file_that_cannot_be_put_aside(spotify: Sandbox, lanes: None, tmp_path: Path) -> None:
    place = InCacheFiles(tmp_path)
    place.fill(spotify, ["user-1"])
    prefix = "c" * 220
    path = (tmp_path / ".cache-user-1").rename(tmp_path / f"{prefix}user-1")

    ran = run("import", *place.arguments, "--pattern", f"{prefix}{{user}}", "--apply")

    assert reasons(ran.said) == {path.name: "it cannot be renamed: File name too long"}
    assert (ran.code, list(tmp_path.iterdir())) == (3, [path])


def test_a_second_account_does_not_replace_the_first(
    spotify: Sandbox, lanes: None, connect: Connect, tmp_path: Path
) -> None:
    user = connect(due=False)
    before = token_of(user).refresh_token
    second = spotify.connect(["user-2"])["user-2"]
    noted = {"account_id": second["account_id"]}
    of_allauth, of_social_auth = InAllauth(tmp_path), InSocialAuth(tmp_path)
    of_allauth.put(user, second)
    model("socialaccount", "SocialAccount").objects.update(extra_data=noted)
    of_social_auth.put(user, second)
    row = model("social_django", "UserSocialAuth").objects.get()
    row.extra_data |= noted
    row.save()

    for place in (of_allauth, of_social_auth):
        for apply in ([], ["--apply"]):  # the rehearsal says so too
            ran = run("import", *place.arguments, *apply)
            assert "the user has connected another Spotify account here" in ran.said
            assert (ran.code, place.left()) == (3, 1)

    assert token_of(user).refresh_token == before


def test_an_account_that_another_user_has_connected_stays_theirs(
    spotify: Sandbox, lanes: None, connect: Connect, tmp_path: Path
) -> None:
    owner = connect("user-1", due=False)
    place = InAllauth(tmp_path)
    place.put(User.objects.create(username="second"), spotify.connect(["user-1"])["user-1"])
    noted = {"account_id": token_of(owner).account_id}
    model("socialaccount", "SocialAccount").objects.update(extra_data=noted)

    for apply in ([], ["--apply"]):
        ran = run("import", *place.arguments, *apply)
        assert "another user has connected this Spotify account" in ran.said
        assert (ran.code, place.left()) == (3, 1)


def test_sessions(spotify: Sandbox, lanes: None, tmp_path: Path) -> None:
    place = InSessions(tmp_path)
    (user,) = place.fill(spotify, ["user-1"])
    newest = spotify.connect(["user-1"])["user-1"]
    later = {**token_info(newest), "expires_at": token_info(newest)["expires_at"] + 60}
    for data in (
        {SESSION_KEY: str(user.pk), "token_info": later},
        {SESSION_KEY: "nobody", "token_info": later},
        {"token_info": later},
        {SESSION_KEY: "999999", "token_info": later},
        {SESSION_KEY: str(user.pk)},
    ):
        store = SessionStore()
        store.update({"basket": 7, **data})
        store.create()

    ran = run("import", *place.arguments, "--apply")

    assert ran.said.count("a session: nobody is logged in to this session") == 2
    assert ran.said.count("a session: no such user") == 1
    assert "       1  moved" in ran.said
    token = SpotifyToken.objects.get(pk=user.pk)
    assert spotify.get("/v1/me", token.access_token or "").ok
    assert place.left() == 3  # nobody's
    assert not any(
        row.session_key in ran.said for row in model("sessions", "Session").objects.all()
    )
    # A request that was under way has stored its session once more.
    place.put(user, newest)
    again = counts(*place.arguments, "--apply")
    assert (again["moved"], again["kept"]) == (0, 1)
    assert place.left() == 3
