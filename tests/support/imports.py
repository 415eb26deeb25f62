"""Places where tokens were kept until now, and `manage.py tokens import` and `export`."""

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from django.apps import apps
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone

from accounts.models import User
from spotify_auth.models import SpotifyToken
from tests.support.sandbox_client import Sandbox

Answer = Mapping[str, Any]
"""What the token endpoint said to a login."""
WEEK = timedelta(days=7)
CLIENT = ("--client-id", Sandbox.client_id)


def model(app_label: str, name: str) -> Any:
    """A model of a library that is installed for these tests only."""
    return apps.get_model(app_label, name)


class Ran(NamedTuple):
    """What a command wrote, its message if it is not done, and its exit code."""

    said: str
    message: str
    code: int


def run(*arguments: str) -> Ran:
    """Run `manage.py tokens …` in this process."""
    out = StringIO()
    try:
        call_command("tokens", *arguments, stdout=out)
    except CommandError as error:
        return Ran(out.getvalue(), str(error), error.returncode)
    return Ran(out.getvalue(), "", 0)


def counts(*arguments: str) -> dict[str, Any]:
    """The report of an import as JSON."""
    report: dict[str, Any] = json.loads(run("import", *arguments, "--json").said)
    return report


class Place(ABC):
    """A place where tokens are kept, as its library leaves them there."""

    source: str

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.secrets: set[str] = set()
        """What was kept there."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """What `import` is told."""
        return ("--from", self.source)

    @abstractmethod
    def put(self, user: User, answer: Answer) -> None:
        """Keep a user's tokens there. Their access token expired a week ago."""

    @abstractmethod
    def left(self) -> int:
        """How many refresh tokens are there."""

    def fill(self, spotify: Sandbox, names: Iterable[str]) -> list[User]:
        """Log users in, and keep their tokens there."""
        users = []
        for name, answer in spotify.connect(names).items():
            user = User.objects.create(username=name, account_id=answer["account_id"])
            self.put(user, answer)
            self.secrets |= {answer["access_token"], answer["refresh_token"]}
            users.append(user)
        return users


class InAllauth(Place):
    source = "allauth"

    def put(self, user: User, answer: Answer) -> None:
        app, _ = model("socialaccount", "SocialApp").objects.get_or_create(
            provider="spotify", client_id=Sandbox.client_id, secret=Sandbox.client_secret
        )
        account = model("socialaccount", "SocialAccount").objects.create(
            user=user, provider="spotify", uid=f"{user.username} {answer['refresh_token'][-8:]}"
        )
        self._tokens().create(
            account=account,
            app=app,
            token=answer["access_token"],
            token_secret=answer["refresh_token"],
            expires_at=timezone.now() - WEEK,
        )

    def fill_many(self, spotify: Sandbox, names: Iterable[str]) -> None:
        """The same for many, with few statements."""
        answers = spotify.connect(names)
        users = User.objects.bulk_create(
            User(username=name, account_id=answer["account_id"]) for name, answer in answers.items()
        )
        first, *others = zip(users, answers.values(), strict=True)
        self.put(*first)
        account, token = (
            model("socialaccount", "SocialAccount"),
            model("socialaccount", "SocialToken"),
        )
        app = model("socialaccount", "SocialApp").objects.get()
        accounts = account.objects.bulk_create(
            account(user=user, provider="spotify", uid=user.username) for user, _ in others
        )
        token.objects.bulk_create(
            token(
                account=kept,
                app=app,
                token=answer["access_token"],
                token_secret=answer["refresh_token"],
                expires_at=timezone.now() - WEEK,
            )
            for kept, (_, answer) in zip(accounts, others, strict=True)
        )
        for answer in answers.values():
            self.secrets |= {answer["access_token"], answer["refresh_token"]}

    def left(self) -> int:
        count: int = self._tokens().exclude(token_secret="").count()
        return count

    def _tokens(self) -> Any:
        return model("socialaccount", "SocialToken").objects


class InSocialAuth(Place):
    source = "social-auth"

    def put(self, user: User, answer: Answer) -> None:
        # As the pipeline's load_extra_data stores it.
        self._rows().create(
            user=user,
            provider="spotify",
            uid=f"{user.username} {answer['refresh_token'][-8:]}",
            extra_data={
                "auth_time": int(timezone.now().timestamp()),
                "access_token": answer["access_token"],
                "refresh_token": answer["refresh_token"],
                "token_type": "Bearer",
            },
        )

    def left(self) -> int:
        count: int = self._rows().filter(extra_data__has_key="refresh_token").count()
        return count

    def _rows(self) -> Any:
        return model("social_django", "UserSocialAuth").objects


def token_info(answer: Answer) -> dict[str, Any]:
    """As spotipy keeps it."""
    expired = int((timezone.now() - WEEK).timestamp())
    return {**answer, "token_type": "Bearer", "expires_at": expired, "scope": None}


class InCacheFiles(Place):
    source = "spotipy-cache"

    @property
    def arguments(self) -> tuple[str, ...]:
        return (*super().arguments, *CLIENT, "--directory", str(self.directory))

    def put(self, user: User, answer: Answer) -> None:
        path = self.directory / f".cache-{user.username}"
        path.write_text(json.dumps(token_info(answer)))

    def left(self) -> int:
        return sum("refresh_token" in path.read_text() for path in self.directory.iterdir())


class InSessions(Place):
    source = "spotipy-sessions"

    @property
    def arguments(self) -> tuple[str, ...]:
        return (*super().arguments, *CLIENT)

    def put(self, user: User, answer: Answer) -> None:
        store = SessionStore()
        store.update({SESSION_KEY: str(user.pk), "basket": 7, "token_info": token_info(answer)})
        store.create()

    def left(self) -> int:
        decoded = [row.get_decoded() for row in Session.objects.all()]
        assert all(data["basket"] == 7 for data in decoded)
        return sum("token_info" in data for data in decoded)


class InCsv(Place):
    source = "csv"

    @property
    def path(self) -> Path:
        return self.directory / "tokens.csv"

    @property
    def arguments(self) -> tuple[str, ...]:
        return (*super().arguments, *CLIENT, "--file", str(self.path))

    def put(self, user: User, answer: Answer) -> None:
        is_new = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(("user", "access_token", "refresh_token", "expires_at", "scope"))
            expires_at = (timezone.now() - WEEK).isoformat()
            tokens = (answer["access_token"], answer["refresh_token"])
            writer.writerow((user.pk, *tokens, expires_at, answer["scope"]))

    def left(self) -> int:
        return 0  # whoever wrote the file erases them


PLACES: tuple[type[Place], ...] = (InAllauth, InSocialAuth, InCacheFiles, InSessions, InCsv)


def assert_everybody_is_kept(spotify: Sandbox, users: Iterable[User]) -> None:
    """Each user's refresh token here is alive at Spotify, and the user's own.

    Each is presented, and so not good any more.
    """
    with transaction.atomic():  # so that no lane is at them
        rows = {row.pk: row for row in SpotifyToken.objects.select_for_update()}
        for user in users:
            answer = spotify.refresh(rows[user.pk].refresh_token or "")
            assert answer.ok, answer.text
            me = spotify.get("/v1/me", answer.json()["access_token"]).json()
            assert me["account_id"] == user.account_id
