"""spotify_auth alone in a project of somebody else's, with Django's user or one with UUID keys.

Neither `accounts` nor `config` is there, nor django-htmx. What is tested is what the project's
users and administrators do, over HTTP, with a real worker and beat.
"""

import html
import json
import re

import pytest
import redis
from django.conf import settings

from dev.process import ROOT
from tests.support.keys import NEW, in_base64
from tests.support.processes import LocalProcess, wait_for
from tests.support.standalone import Browser, Project
from tests.support.tokens import forget

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("standalone")]

# What does not depend on the kind of user is tried with the one whose keys are no numbers.
with_uuid_keys = pytest.mark.parametrize("project", ["members.Member"], indirect=True)

FUNCTIONS_TAKE_THE_KEY = """
SELECT bool_and(proargtypes[array_position(proargnames, 'p_user_id') - 1] = atttypid)
FROM pg_proc, pg_attribute
WHERE proname ~ '^spotify_auth_kept_store' AND attname = 'user_id'
  AND attrelid = 'spotify_auth_spotifytoken'::regclass
"""
TOKEN = "SELECT {} FROM spotify_auth_spotifytoken WHERE user_id = %s"


def connected(project: Project, name: str) -> tuple[str, Browser]:
    """A user who has connected Spotify: the primary key, and the browser."""
    user_id, browser = project.users[name], project.browser(name)
    answer = browser.connect(name, "/music/")
    assert (answer.status_code, answer.headers.get("Location")) == (302, "/music/"), answer.text
    return user_id, browser


def generation(project: Project, user_id: str) -> int:
    number: int = project.row(TOKEN.format("generation"), user_id)[0]
    return number


@with_uuid_keys
@pytest.mark.parametrize("package", ["accounts", "config"])
def test_nothing_of_ours_is_there_but_the_app(project: Project, package: str) -> None:
    assert "ModuleNotFoundError" in project.run("-c", f"import {package}").stderr
    assert project.run("-c", "import spotify_auth").returncode == 0


def test_the_project_is_in_order(project: Project) -> None:
    assert "no issues" in project.manage("check", "--fail-level", "WARNING")
    project.manage("makemigrations", "--check", "--dry-run")


@with_uuid_keys
def test_a_missing_setting_is_named_in_one_line(project: Project) -> None:
    code = (
        "from django.conf import settings; del settings.SPOTIFY_CLIENT_ID;"
        "from spotify_auth.accounts_service.authorization import authorize_url;"
        "authorize_url(state='s', code_verifier='v', show_dialog=False)"
    )
    done = project.run("-m", "django", "shell", "--no-imports", "-c", code)

    assert "ImproperlyConfigured: SPOTIFY_CLIENT_ID is missing" in done.stderr
    assert "AttributeError" not in done.stderr


@with_uuid_keys
def test_a_user_who_is_not_connected_is_offered_to(project: Project) -> None:
    page = project.browser("eve").get("/music/")

    assert (page.status_code, "Spotify is not connected" in page.text) == (200, True)
    assert 'action="/spotify/connect/"' in page.text
    assert '<html lang="en">' in page.text
    assert "<header>" in page.text  # the example's frame, by SPOTIFY_BASE_TEMPLATE


@with_uuid_keys
def test_the_template_of_the_guide_offers_to_connect(project: Project) -> None:
    guide = (ROOT / "docs/how-to/write-a-page.md").read_text()
    (template,) = re.findall(r"```django\n(.*?)```", guide, re.DOTALL)
    code = (
        "from django.contrib.auth import get_user_model\n"
        "from django.template import RequestContext, Template\n"
        "from django.test import RequestFactory\n"
        "request = RequestFactory().get('/page/?of=1')\n"
        f"request.user = get_user_model().objects.get(pk={project.users['eve']!r})\n"
        f"print(Template({template!r}).render(RequestContext(request)))"
    )

    shown = project.manage("shell", "--no-imports", "-c", code)

    assert 'action="/spotify/connect/"' in shown
    assert 'name="next" value="/page/?of=1"' in shown
    assert "csrfmiddlewaretoken" in shown


def test_a_connected_user_is_kept_fresh_and_seen(project: Project) -> None:
    user_id, browser = connected(project, "user-1")

    first = browser.get("/music/").json()
    project.lifetime_passes(user_id)
    wait_for(lambda: generation(project, user_id) > 1, what="a refresh by the schedule")

    later = browser.get("/music/").json()
    assert first["name"] == later["name"]
    assert later["generation"] > first["generation"] >= 1
    assert project.row("SELECT 1 FROM spotify_auth_lastseen WHERE user_id = %s", user_id) == (1,)
    account_id = project.sandbox.stats("user-1")["account_id"]
    assert project.row(TOKEN.format("account_id"), user_id) == (account_id,)
    assert project.sandbox.stats("user-1")["reuses_of_dead_token"] == 0
    # By functions of PostgreSQL that fit the project's users.
    assert project.row(FUNCTIONS_TAKE_THE_KEY) == (True,)
    assert "functions_missing" not in project.processes["worker"].logs()


@with_uuid_keys
def test_a_page_that_waits_goes_on_by_itself(project: Project) -> None:
    user_id, browser = connected(project, "user-2")
    project.row(
        "UPDATE spotify_auth_spotifytoken SET expires_at = now(), "
        "refreshed_at = refreshed_at - interval '1 hour' WHERE user_id = %s",
        user_id,
    )

    waiting = browser.get("/music/")

    assert "Reconnecting to Spotify" in waiting.text
    assert waiting.headers["Refresh"] == "3"
    wait_for(lambda: "name" in browser.get("/music/").text, what="the page to go on")


def test_an_administrator_finds_and_refreshes_a_token(project: Project) -> None:
    user_id, _ = connected(project, "user-3")
    root = project.browser("root")
    operations = root.get("/admin/spotify_auth/operations/").text
    assert "Do users have what they need?" in operations
    assert '<meta http-equiv="refresh" content="15">' in operations  # there is no htmx

    for model in ("spotifytoken", "tokenevent"):
        for term in (project.login_name("user-3"), project.sandbox.stats("user-3")["account_id"]):
            found = root.get(f"/admin/spotify_auth/{model}/?q={term}")
            assert found.status_code == 200
            assert project.login_name("user-3") in found.text
            assert "1 Spotify token" in found.text or model == "tokenevent"
    shown = project.manage("tokens", "status", project.login_name("user-3"), "--json")
    assert str(json.loads(shown)["user_id"]) == user_id
    asked = root.post(
        "/admin/spotify_auth/spotifytoken/",
        action="refresh_now",
        _selected_action=user_id,
        confirmed="yes",
        reason="ticket 17",
    )

    assert asked.status_code == 302
    assert "Refresh now, 1 token: Asked for" in root.get("/admin/spotify_auth/spotifytoken/").text
    nudged = (
        "SELECT 1 FROM spotify_auth_tokenevent "
        "WHERE user_id = %s AND cause = 'admin' AND outcome = 'refreshed'"
    )
    wait_for(lambda: project.row(nudged, user_id) is not None, what="the refresh asked for")
    # The key went to the worker in a message, and was a key again there.
    worker = project.processes["worker"]
    ended = re.compile(r"spotify_auth\.refresh\[\S+\] succeeded")
    wait_for(lambda: ended.search(worker.logs()), what="the task's end")
    assert "Traceback" not in worker.logs()


@with_uuid_keys
def test_a_worker_with_processes_says_so(project: Project) -> None:
    command = "celery -A music_site worker -l info --pool prefork --concurrency 1 -Q lanes"
    worker = LocalProcess(
        "standalone-prefork",
        [*project.python, "-m", *command.split(), "--hostname", "prefork@localhost"],
        env=project.env,
        ready_when="worker_prefork lanes=1 look_at=--pool",
        cwd=project.home,
    )
    try:
        worker.ready()
    finally:
        worker.teardown()
    assert "worker_prefork" not in project.processes["worker"].logs()


@with_uuid_keys
def test_the_page_of_the_example_has_music(project: Project) -> None:
    granted = project.sandbox.connect(["user-7"])["user-7"]["access_token"]
    answer = project.sandbox.get("/v1/me/top/artists", granted, limit="10").json()
    _, browser = connected(project, "user-7")

    page = browser.get("/").text

    artists = [artist["name"] for artist in answer["items"]]
    assert len(artists) == 10
    assert [html.unescape(name) for name in re.findall(r"<li>(.*?)</li>", page)] == artists


@with_uuid_keys
def test_disconnecting_erases_the_tokens(project: Project) -> None:
    user_id, browser = connected(project, "user-4")

    answer = browser.post("/spotify/disconnect/")

    assert (answer.status_code, answer.headers["Location"]) == (302, "/music/")
    columns = "status, access_token, refresh_token"
    assert project.row(TOKEN.format(columns), user_id) == ("disconnected", None, None)
    assert "Spotify is not connected" in browser.get("/music/").text


@with_uuid_keys
def test_a_failed_login_has_a_page(project: Project) -> None:
    page = project.browser("mallory").get("/spotify/callback/?state=x&code=y")

    assert page.status_code == 400
    assert "no longer valid" in page.text
    assert 'action="/spotify/connect/"' in page.text
    assert 'href="/music/"' in page.text


def rows_of(project: Project, user_id: str) -> list[int]:
    """How many rows of each of the app's tables belong to a user."""
    counts = []
    for table in ("spotifytoken", "tokenevent", "lastseen"):
        statement = f"SELECT count(*) FROM spotify_auth_{table} WHERE user_id = %s"  # noqa: S608
        counts += project.row(statement, user_id)
    return counts


def test_a_user_is_deleted_in_the_admin_with_the_token(project: Project) -> None:
    user_id, _ = connected(project, "user-5")
    model = project.user_model.lower().replace(".", "/")
    assert 0 not in rows_of(project, user_id)

    deleted = project.browser("admin").post(f"/admin/{model}/{user_id}/delete/", post="yes")

    assert deleted.status_code == 302
    assert rows_of(project, user_id) == [0, 0, 0]


@with_uuid_keys
def test_house_keeping_forgets_the_grants_of_users_who_have_left(project: Project) -> None:
    user_id, _ = connected(project, "user-6")
    gone = "6f1c2d3e-0000-4000-8000-00000000beef" if "-" in user_id else "4711"
    rescued = f"spotify_auth:rescued:{gone}:1", f"spotify_auth:rescued:{user_id}:1000"
    for key in rescued:
        project.broker.set(key, b"sealed")

    code = "from spotify_auth import housekeeping; housekeeping.delete_expired()"
    project.manage("shell", "--no-imports", "-c", code)

    assert [project.broker.exists(key) for key in rescued] == [0, 1]


@with_uuid_keys
def test_an_operator_rotates_keys_and_sorts_out_a_backup(project: Project) -> None:
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        forget(client, "spotify_auth:rescued:*")  # other tests share this Redis
    user_id, browser = connected(project, "user-9")
    usual = project.env["TOKEN_ENCRYPTION_KEYS"]
    new = in_base64(NEW)
    sealed = TOKEN.format("substring(refresh_token FROM 2 FOR 4)")
    before = project.row(sealed, user_id)

    try:
        project.env["TOKEN_ENCRYPTION_KEYS"] = f"{new},{usual}"
        assert "Done." in project.manage("tokens", "rotate-keys")
        assert project.row(sealed, user_id) != before
    finally:
        # The web server and the worker know the usual key alone.
        project.env["TOKEN_ENCRYPTION_KEYS"] = f"{usual},{new}"
        back = project.manage("tokens", "rotate-keys")
        project.env["TOKEN_ENCRYPTION_KEYS"] = usual
    assert "Done." in back
    assert project.row(sealed, user_id) == before

    now = project.row("SELECT now()")[0].isoformat()
    kept = project.manage("tokens", "after-restore", "--backup-at", now, "--not-rotated", "--yes")
    assert "Done." in kept
    wait_for(lambda: "name" in browser.get("/music/").text, what="the page to be well")


@with_uuid_keys
def test_a_token_is_imported_and_handed_back(project: Project) -> None:
    user_id, granted = project.users["user-8"], project.sandbox.connect(["user-8"])["user-8"]
    there, back = project.home / "there.csv", project.home / "back.csv"
    there.write_text(
        "user,access_token,refresh_token\n"
        f"{project.login_name('user-8')},{granted['access_token']},{granted['refresh_token']}\n"
    )
    whose = ("--user-field", "email", "--client-id", project.sandbox.client_id)

    said = project.manage(
        *("tokens", "import", "--from", "csv", "--file", str(there), *whose, "--apply", "--json")
    )

    assert json.loads(said)["moved"] == 1
    assert generation(project, user_id) > 1  # a worker has refreshed it
    assert "Done." in project.manage(
        "tokens", "export", "--to", "csv", "--file", str(back), f"pk:{user_id}", "--apply"
    )
    (line,) = back.read_text().splitlines()[1:]
    assert line.startswith(f"{user_id},")
    assert project.sandbox.refresh(line.split(",")[2]).ok
