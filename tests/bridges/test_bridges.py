"""Users who log in by other libraries are kept fresh, and called for by other clients.

The project is as the guides leave it, with a real web server, worker and beat; the libraries' own
logins and calls go to the sandbox. Half of the users' refresh tokens rotate.
"""

import itertools
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests

from tests.support import guides
from tests.support.processes import wait_for
from tests.support.standalone import Browser, Project

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("bridges")]

CLIENTS = ("session", "spotipy", "requests", "httpx", "httpx2", "tekore")
OUTCOMES = "SELECT array_agg(DISTINCT outcome ORDER BY outcome) FROM spotify_auth_tokenevent "
OUTCOMES += "WHERE user_id = ANY(%s)"
ROTATED = """
SELECT count(DISTINCT user_id) FILTER (WHERE rotated),
       count(DISTINCT user_id) FILTER (WHERE NOT rotated)
FROM spotify_auth_tokenevent WHERE user_id = ANY(%s) AND outcome = 'refreshed'
"""
OF_ALLAUTH = """
SELECT count(*), bool_or(token_secret <> '') FROM socialaccount_socialtoken
JOIN socialaccount_socialaccount account ON account.id = account_id WHERE user_id = ANY(%s)
"""
OF_SOCIAL_AUTH = """
SELECT count(*), bool_or(extra_data::text ~ 'refresh_token|access_token')
FROM social_auth_usersocialauth WHERE user_id = ANY(%s)
"""
NEW_USER = """
INSERT INTO auth_user (username, password, is_superuser, first_name, last_name, email, is_staff,
                       is_active, date_joined)
VALUES (%s, '', false, '', '', '', false, true, now()) RETURNING id
"""
TOKEN = "SELECT {} FROM spotify_auth_spotifytoken WHERE user_id = %s"


class Visitor(Browser):
    """A browser that comes back from the sandbox as a persona."""

    def __init__(self, project: Project, persona: str) -> None:
        super().__init__(project.url, sandbox=project.sandbox.url)
        self._project, self._persona = project, persona

    def by_allauth(self, query: str = "") -> requests.Response:
        """Press the button of allauth's page."""
        address = f"/accounts/spotify/login/{query}"
        form = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', self.get(address).text)
        return self._come_back(self.post(address, csrfmiddlewaretoken=form[0]))

    def by_social_auth(self) -> requests.Response:
        """Follow social-auth's link, whose form is the site's own."""
        self.get("/login/")
        return self._come_back(self.post("/social/login/spotify/"))

    def by_spotipy(self, user: str) -> requests.Response:
        """Log in by a password, and then connect by spotipy."""
        self.log_in(user)
        return self.by_spotipy_alone()

    def by_spotipy_alone(self) -> requests.Response:
        """Log in by spotipy, or connect if somebody is logged in already."""
        return self._come_back(self.get("/spotipy/login/"))

    def log_in(self, user: str) -> None:
        """By a password."""
        self._session = self._project.browser(user)._session

    def music(self, client: str = "session") -> requests.Response:
        """The page, whose call another library makes."""
        return self.get(f"/music/?by={client}")

    def _come_back(self, sent: requests.Response) -> requests.Response:
        answer = self.return_from(sent)
        assert answer.status_code == 302, (
            answer.text + self._project.processes["web"].logs()[-3000:]
        )
        return answer

    def return_from(self, sent: requests.Response) -> requests.Response:
        """What the callback says to a visitor who has agreed at Spotify."""
        assert sent.status_code == 302, sent.text
        parameters = dict(parse_qsl(urlsplit(sent.headers["Location"]).query))
        back = urlsplit(self._project.sandbox.authorize(parameters, self._persona))
        return self.get(f"{back.path}?{back.query}")


LOGINS: dict[str, Callable[[Visitor], requests.Response]] = {
    "user-1": Visitor.by_allauth,
    "user-2": Visitor.by_allauth,
    "user-3": Visitor.by_social_auth,
    "user-4": Visitor.by_social_auth,
    "user-5": lambda visitor: visitor.by_spotipy("user-5"),
    "user-6": lambda visitor: visitor.by_spotipy("user-6"),
}
KEEP_THEIR_REFRESH_TOKEN = ["user-2", "user-4", "user-6"]


@pytest.fixture(scope="module")
def visitors(project: Project) -> dict[str, Visitor]:
    """Users who have logged in by each library; two for each, and one of them is rotated."""
    guides.forget_everybody(project)
    project.sandbox.faults("no_rotation", users=KEEP_THEIR_REFRESH_TOKEN)
    found = {}
    for persona, login in LOGINS.items():
        found[persona] = Visitor(project, persona)
        login(found[persona])
    return found


def column(project: Project, name: str, user_id: str) -> object:
    return project.row(TOKEN.format(name), int(user_id))[0]


def test_two_lifetimes_under_concurrent_reads_log_nobody_out(
    project: Project, visitors: dict[str, Visitor]
) -> None:
    failures: list[str] = []
    lived = threading.Event()

    def read(persona: str) -> int:
        """Read on until all have been refreshed twice; the generation at the end."""
        generation = 0
        for client in itertools.cycle(CLIENTS):
            is_last = lived.is_set()
            answer = visitors[persona].music(client)
            if answer.status_code != 200:
                failures.append(f"{persona} {client}: {answer.status_code} {answer.text[:300]}")
                return 0
            generation = int(answer.json()["generation"])
            if is_last:
                return generation
            time.sleep(0.25)
        return generation

    ids = [int(visitor.music().json()["user"]) for visitor in visitors.values()]
    fewest = "SELECT min(generation) FROM spotify_auth_spotifytoken WHERE user_id = ANY(%s)"

    def are_at(generation: int) -> bool:
        """Whether all have come so far; whatever failed ends the test."""
        return bool(failures) or project.row(fewest, ids)[0] >= generation

    with ThreadPoolExecutor(len(visitors)) as pool:
        reads = [pool.submit(read, persona) for persona in visitors]
        try:
            for generation in (2, 3):
                project.lifetime_passes(*map(str, ids))
                wait_for(partial(are_at, generation), what="a refresh of each", every=0.2)
        finally:
            lived.set()

    assert failures == []
    assert min(each.result() for each in reads) >= 3
    for persona in visitors:
        counts = project.sandbox.stats(persona)
        assert counts["reuses_of_dead_token"] == counts["invalid_grants"] == 0
        assert counts["in_flight_max"] == 1
    assert project.row(OUTCOMES, ids) == (["connected", "refreshed"],)
    assert project.row(ROTATED, ids) == (3, 3)


def test_the_libraries_keep_no_refresh_token(
    project: Project, visitors: dict[str, Visitor]
) -> None:
    ids = [int(visitor.music().json()["user"]) for visitor in visitors.values()]
    assert project.row(OF_ALLAUTH, ids) == (2, False)
    assert project.row(OF_SOCIAL_AUTH, ids) == (2, False)
    sessions = (
        "from django.contrib.sessions.models import Session\n"
        "print('token' in ''.join(str(each.get_decoded()) for each in Session.objects.all()))"
    )
    assert project.manage("shell", "--no-imports", "-c", sessions).strip() == "False"
    files = {path.name for path in project.home.glob(".cache*")}
    assert not files & {".cache", ".cache-user-5", ".cache-user-6"}


@pytest.mark.parametrize(
    ("persona", "page"),
    [("user-1", "/top-artists/"), ("user-3", "/top-songs/"), ("user-5", "/top-tracks/")],
)
def test_the_pages_of_the_guides_answer(
    visitors: dict[str, Visitor], persona: str, page: str
) -> None:
    answer = visitors[persona].get(page)

    assert answer.status_code == 200, answer.text
    assert answer.json()["items"]


def test_a_second_login_by_allauth_replaces_the_pair(
    project: Project, visitors: dict[str, Visitor]
) -> None:
    user_id = visitors["user-1"].music().json()["user"]
    before = column(project, "authorized_at", user_id)

    Visitor(project, "user-1").by_allauth()  # in another browser

    assert column(project, "authorized_at", user_id) > before  # type: ignore[operator]
    assert column(project, "account_id", user_id) == project.sandbox.stats("user-1")["account_id"]


def test_allauth_connects_spotify_and_removes_it(project: Project) -> None:
    visitor = Visitor(project, "user-7")
    visitor.log_in("user-7")
    user_id = project.users["user-7"]

    visitor.by_allauth("?process=connect")
    assert column(project, "status", user_id) == "active"
    assert "user-top-read" in str(column(project, "scope", user_id))  # before any refresh
    visitor.by_allauth("?process=connect")  # once more
    assert column(project, "generation", user_id) >= 2  # type: ignore[operator]
    assert project.row(OF_ALLAUTH, [int(user_id)]) == (1, False)
    (account,) = project.row(
        "SELECT id FROM socialaccount_socialaccount WHERE user_id = %s", int(user_id)
    )
    visitor.get("/accounts/3rdparty/")
    removed = visitor.post("/accounts/3rdparty/", account=str(account))

    assert removed.status_code == 302, removed.text
    assert column(project, "status", user_id) == "disconnected"
    assert "Spotify is not connected" in visitor.music().text


def test_a_second_spotify_account_does_not_replace_the_first(project: Project) -> None:
    visitor = Visitor(project, "user-8")
    visitor.log_in("user-8")
    visitor.by_allauth("?process=connect")
    first = column(project, "account_id", project.users["user-8"])
    visitor._persona = "user-9"

    visitor.by_allauth("?process=connect")

    assert column(project, "account_id", project.users["user-8"]) == first
    assert project.row(OF_ALLAUTH, [int(project.users["user-8"])]) == (2, False)
    assert "login_not_adopted" in project.processes["web"].logs()
    assert "You have connected another Spotify account" in visitor.get("/accounts/3rdparty/").text


def test_another_users_account_is_not_connected(
    project: Project, visitors: dict[str, Visitor]
) -> None:
    owner = visitors["user-2"].music().json()["user"]
    before = column(project, "authorized_at", owner)
    mallory = Visitor(project, "user-2")
    mallory.log_in("mallory")

    mallory.by_allauth("?process=connect")

    assert column(project, "authorized_at", owner) == before
    assert project.row(OF_ALLAUTH, [int(owner)]) == (1, False)
    assert "Spotify is not connected" in mallory.music().text


def test_social_auth_disconnects(project: Project) -> None:
    visitor = Visitor(project, "user-10")
    visitor.by_social_auth()
    user_id = visitor.music().json()["user"]
    set_password = (
        "from django.contrib.auth.models import User\n"
        f"user = User.objects.get(pk={user_id}); user.set_password('x'); user.save()"
    )
    project.manage("shell", "--no-imports", "-c", set_password)
    visitor.by_social_auth()

    visitor.post("/social/disconnect/spotify/")

    assert column(project, "status", user_id) == "disconnected"


def test_of_two_accounts_of_social_auth_the_first_stays(project: Project) -> None:
    visitor = Visitor(project, "user-11")
    visitor.log_in("user-9")
    user_id = project.users["user-9"]
    visitor.by_social_auth()
    visitor._persona = "user-12"
    visitor.by_social_auth()
    assert project.row(OF_SOCIAL_AUTH, [int(user_id)]) == (2, False)
    (second,) = project.row(
        "SELECT max(id) FROM social_auth_usersocialauth WHERE user_id = %s", int(user_id)
    )

    visitor.post(f"/social/disconnect/spotify/{second}/")

    assert project.row(OF_SOCIAL_AUTH, [int(user_id)]) == (1, False)
    assert column(project, "status", user_id) == "active"
    assert column(project, "account_id", user_id) == project.sandbox.stats("user-11")["account_id"]


def test_spotipy_logs_a_new_user_in_and_knows_them_again(project: Project) -> None:
    visitor = Visitor(project, "user-20")
    visitor.by_spotipy_alone()
    user_id = visitor.music().json()["user"]
    before = column(project, "authorized_at", user_id)

    project.row("UPDATE auth_user SET username = 'renamed' WHERE id = %s", int(user_id))
    again = Visitor(project, "user-20")
    again.by_spotipy_alone()

    assert again.music().json()["user"] == user_id
    assert column(project, "authorized_at", user_id) > before  # type: ignore[operator]
    assert column(project, "account_id", user_id) == project.sandbox.stats("user-20")["account_id"]


def test_spotipy_logs_in_a_user_of_the_time_before(project: Project) -> None:
    (known,) = project.row(NEW_USER, "user-21")
    visitor = Visitor(project, "user-21")

    visitor.by_spotipy_alone()

    assert visitor.music().json()["user"] == str(known)


def test_spotipy_opens_no_account_that_has_a_password(project: Project) -> None:
    visitor = Visitor(project, "user-9")  # a name that somebody chose

    refused = visitor.return_from(visitor.get("/spotipy/login/"))

    assert refused.status_code == 403
    assert visitor.music().status_code == 302  # to the login


def test_spotipy_lets_nobody_in_whose_user_is_not_active(project: Project) -> None:
    (user_id,) = project.row(NEW_USER, "user-22")
    project.row("UPDATE auth_user SET is_active = false WHERE id = %s", user_id)
    visitor = Visitor(project, "user-22")

    refused = visitor.return_from(visitor.get("/spotipy/login/"))

    assert refused.status_code == 403
    assert project.row(TOKEN.format("status"), user_id) is None


def test_another_account_by_spotipy_is_refused(
    project: Project, visitors: dict[str, Visitor]
) -> None:
    owner = visitors["user-5"].music().json()["user"]
    before = column(project, "authorized_at", owner)
    mallory = Visitor(project, "user-5")
    mallory.log_in("mallory")
    changed = Visitor(project, "user-23")
    changed.log_in("user-5")

    refusals = [each.return_from(each.get("/spotipy/login/")) for each in (mallory, changed)]

    assert [answer.status_code for answer in refusals] == [409, 409]
    assert "another user has this one" in refusals[0].text
    assert column(project, "authorized_at", owner) == before
    assert "Spotify is not connected" in mallory.music().text


def test_a_return_by_spotipy_that_nobody_began_is_refused(project: Project) -> None:
    assert Visitor(project, "user-5").get("/spotipy/callback/?code=x").status_code == 403


def test_a_command_calls_for_all_who_are_connected(
    project: Project, visitors: dict[str, Visitor]
) -> None:
    ids = [int(visitor.music().json()["user"]) for visitor in visitors.values()]
    refused = ids[list(visitors).index("user-6")]
    project.sandbox.faults(
        "web_api_error", path="/v1/me/top", status=404, users=["user-6"], times=1
    )

    done = project.run("-m", "django", "count_top_tracks")

    assert done.returncode == 0, done.stderr
    told = set(re.findall(r"^user (\d+): \d+$", done.stdout, re.MULTILINE))
    assert {str(user_id) for user_id in ids} - told == {str(refused)}
    assert f"user {refused}: NotFound" in done.stderr
