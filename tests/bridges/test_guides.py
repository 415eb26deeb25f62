"""The commands of the guides: tokens that the libraries have kept move here, and back."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import guides
from tests.support.standalone import Project

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("bridges")]

USERS = 12
HERE = """
SELECT count(*), count(*) FILTER (WHERE status = 'active')
FROM spotify_auth_spotifytoken JOIN auth_user ON user_id = id WHERE username = ANY(%s)
"""
MAKE = """
import json
from datetime import UTC, datetime, timedelta
from allauth.socialaccount.models import SocialAccount, SocialToken
from django.contrib.auth.models import User
from social_django.models import UserSocialAuth
kept = json.load(open("kept.json"))
expired = datetime.now(UTC) - timedelta(days=1)
for guide, tokens in kept.items():
    for name, token in tokens.items():
        user, _ = User.objects.get_or_create(username=name)
        pair = {key: token[key] for key in ("access_token", "refresh_token", "token_type")}
        if "allauth" in guide:
            account = SocialAccount.objects.create(user=user, provider="spotify", uid=name)
            SocialToken.objects.create(account=account, token=token["access_token"],
                token_secret=token["refresh_token"], expires_at=expired)
        elif "social" in guide:
            UserSocialAuth.objects.create(
                user=user, provider="spotify", uid=name, extra_data=pair)
        else:
            info = {**pair, "expires_at": int(expired.timestamp()), "scope": token["scope"]}
            open(f".cache-{name}", "w").write(json.dumps(info))
"""


def of_allauth(project: Project) -> dict[str, str]:
    found = project.row(
        "SELECT json_object_agg(uid, token_secret) FROM socialaccount_socialtoken "
        "JOIN socialaccount_socialaccount account ON account.id = account_id"
    )
    return dict(found[0])


def of_social_auth(project: Project) -> dict[str, str]:
    found = project.row(
        "SELECT json_object_agg(uid, coalesce(extra_data ->> 'refresh_token', '')) "
        "FROM social_auth_usersocialauth"
    )
    return dict(found[0])


def of_spotipy(project: Project) -> dict[str, str]:
    return {
        path.name.removeprefix(".cache-"): json.loads(path.read_text())["refresh_token"]
        for path in project.home.glob(".cache-*")
    }


GUIDES: dict[str, tuple[Callable[[Project], dict[str, str]], set[str]]] = {
    "come-from-allauth.md": (of_allauth, {""}),
    "come-from-social-auth.md": (of_social_auth, {""}),
    "come-from-spotipy.md": (of_spotipy, set()),
}
"""The refresh tokens that each library has, and what is left of them once they have moved."""


@pytest.fixture(scope="module")
def kept(project: Project) -> dict[str, dict[str, Any]]:
    """Tokens that the libraries have kept: those of each guide, by the names of their users."""
    guides.forget_everybody(project)
    found = {}
    for number, guide in enumerate(GUIDES, start=1):
        names = [f"user-{each}" for each in range(100 * number, 100 * number + USERS)]
        found[guide] = project.sandbox.connect(names)
    (project.home / "kept.json").write_text(json.dumps(found))
    project.manage("shell", "--no-imports", "-c", MAKE)
    return found


@pytest.mark.parametrize("guide", GUIDES)
def test_tokens_move_here_and_back_by_the_commands_of_the_guide(
    project: Project, kept: dict[str, dict[str, Any]], guide: str
) -> None:
    refresh_tokens, erased = GUIDES[guide]
    names = list(kept[guide])
    assert refresh_tokens(project) == {
        name: token["refresh_token"] for name, token in kept[guide].items()
    }
    move, bring_back = guides.commands(guide)

    guides.follow(project, move)

    assert project.row(HERE, names) == (USERS, USERS)
    assert set(refresh_tokens(project).values()) == erased

    guides.follow(project, bring_back)

    assert project.row(HERE, names) == (USERS, 0)
    back = refresh_tokens(project)
    assert set(back) == set(names)
    assert all(project.sandbox.refresh(token).ok for token in back.values())
    for name in names:
        assert project.sandbox.stats(name)["reuses_of_dead_token"] == 0
    assert not list(project.home.glob("back.csv"))
