"""Acting on all that match: each once, again after a fault, and no longer than it is allowed."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db.models.functions import Now
from django.test import Client
from pytest_django import Settings

from accounts.models import LoginSession, User
from spotify_auth import bulk, chores
from spotify_auth.admin_pages import acting, people
from spotify_auth.models import BulkAction, Outcome, SpotifyToken
from tests.support.admin import enter_admin, group
from tests.support.database_faults import locked_elsewhere
from tests.support.tokens import Connect

pytestmark = pytest.mark.django_db

TOKENS = "/admin/spotify_auth/spotifytoken/"
State = BulkAction.State


@pytest.fixture
def root() -> User:
    return User.objects.create(username="root", is_staff=True, is_superuser=True)


@pytest.fixture
def admin(client: Client, root: User) -> Client:
    enter_admin(client, root)
    return client


@pytest.fixture
def users(connect: Connect) -> list[User]:
    return [connect(f"user-{n}", due=False) for n in range(5)]


def begun(root: User, action: str = "pause", query: str = "") -> BulkAction:
    return bulk.begin(action, query=query, administrator=root, reason="ticket 17")


def statuses(users: list[User]) -> list[str]:
    rows = SpotifyToken.objects.in_bulk([user.pk for user in users])
    return [rows[user.pk].status for user in users]


def again(found: BulkAction) -> BulkAction:
    return BulkAction.objects.get(pk=found.pk)


def test_select_all_asks_for_a_reason_and_leads_to_a_page_of_progress(
    admin: Client, users: list[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acting, "MOST_AT_ONCE", 2)
    ticked = {"action": "pause", "_selected_action": str(users[0].pk), "select_across": "1"}
    address = f"{TOKENS}?status__exact=active&p=0"

    assert "The search finds" not in admin.get(f"{TOKENS}?q=user-").content.decode()
    with monkeypatch.context() as patch:
        patch.setattr(people, "MOST_FOUND", 3)
        for asked in (admin.get(f"{TOKENS}?q=user-"), admin.post(f"{TOKENS}?q=user-", ticked)):
            assert "The search finds 3 users and no more" in asked.content.decode()

    question = admin.post(address, {**ticked, "index": "0"}).content.decode()
    unanswered = admin.post(address, {**ticked, "confirmed": "yes", "reason": " "})
    answer = admin.post(address, {**ticked, "confirmed": "yes", "reason": "r"}, follow=True)

    assert "All tokens that match this filter, more than 2" in question
    assert "<code>status__exact=active" in question
    assert "errorlist" in unanswered.content.decode()
    found = BulkAction.objects.get()
    assert (found.query, found.by, found.reason) == ("status__exact=active", "root", "r")
    assert "Running" in answer.content.decode()
    assert set(statuses(users)) == {"active"}  # no worker runs here

    bulk.run(found.pk)

    page = admin.get(f"/admin/spotify_auth/bulkaction/{found.pk}/change/").content.decode()
    assert 'value="5" max="5"' in page
    assert "hx-get" not in page
    assert set(statuses(users)) == {"paused"}
    records = LogEntry.objects.filter(user__username="root", change_message="Paused: r")
    assert records.count() == 5


def test_ticking_too_many_without_select_all_does_nothing(
    admin: Client, users: list[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acting, "MOST_AT_ONCE", 2)
    ticked = {"action": "pause", "_selected_action": [user.pk for user in users]}

    answer = admin.post(TOKENS, {**ticked, "confirmed": "yes", "reason": "r"}, follow=True)

    assert "acts on 2 tokens at most" in answer.content.decode()
    assert set(statuses(users)) == {"active"}
    assert not BulkAction.objects.exists()


def test_few_are_under_way_at_the_same_time(
    admin: Client, root: User, users: list[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or one administrator could take all threads from the lanes."""
    monkeypatch.setattr(acting, "MOST_AT_ONCE", 2)
    running = [begun(root, query="needs=failing") for _ in range(bulk.MOST_RUNNING)]
    ticked = {"action": "pause", "_selected_action": str(users[0].pk), "select_across": "1"}
    asked = {**ticked, "confirmed": "yes", "reason": "r"}

    answer = admin.post(TOKENS, asked, follow=True)

    assert "4 actions are under way" in answer.content.decode()
    assert BulkAction.objects.count() == len(running)
    bulk.run(running[0].pk)
    admin.post(TOKENS, asked)
    assert BulkAction.objects.count() == len(running) + 1


def test_only_what_matches_is_acted_on(root: User, users: list[User]) -> None:
    SpotifyToken.objects.filter(pk__in=[users[1].pk, users[3].pk]).update(
        failures=1, last_error="http_503"
    )

    bulk.run(begun(root, query="needs=failing").pk)

    assert statuses(users) == ["active", "paused", "active", "paused", "active"]


@pytest.mark.parametrize("query", ["needs=of-a-newer-version", "key=0100000000", "last_error=%00"])
def test_a_filter_that_this_worker_does_not_know_is_not_every_token(
    admin: Client, root: User, users: list[User], query: str
) -> None:
    """As when a key is retired between the page and the worker: it stops instead."""
    found = begun(root, action="revoke", query=query)

    bulk.run(found.pk)

    assert again(found).state == State.STOPPED
    assert "does not know this filter" in again(found).note
    assert set(statuses(users)) == {"active"}
    assert admin.get(f"{TOKENS}?{query}").headers["Location"] == f"{TOKENS}?e=1"


def test_what_happened_to_a_token_and_how_far_it_came_are_one(
    root: User, users: list[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = begun(root)
    step = bulk._do

    def stop_after_two(*step_of: object) -> bool:
        done = step(*step_of)  # type: ignore[arg-type]
        if again(found).done == 2:
            monkeypatch.setattr(chores.stopping, "is_set", lambda: True)
        return done

    monkeypatch.setattr(bulk, "_do", stop_after_two)
    bulk.run(found.pk)
    assert (again(found).done, again(found).state) == (2, State.RUNNING)
    assert statuses(users).count("paused") == 2
    # One that is resumed meanwhile is behind it: it is not done a second time.
    SpotifyToken.objects.filter(pk=users[0].pk).update(status="active")
    monkeypatch.setattr(chores.stopping, "is_set", lambda: False)
    monkeypatch.setattr(bulk, "_do", step)

    bulk.run(found.pk)

    assert statuses(users) == ["active", *["paused"] * 4]
    assert (again(found).done, again(found).matched, again(found).state) == (5, 5, State.DONE)


def test_a_second_worker_that_comes_late_undoes_its_step(root: User, users: list[User]) -> None:
    late = begun(root)
    bulk._do(again(late), users[0].pk)
    SpotifyToken.objects.filter(pk=users[0].pk).update(status="active")

    assert not bulk._do(late, users[0].pk)  # it has not seen the first one's step

    assert statuses(users[:1]) == ["active"]
    assert users[0].spotify_auth_events.filter(outcome=Outcome.PAUSED).count() == 1
    assert again(late).done == 1


@pytest.mark.parametrize("loses", ["is_active", "is_staff", "is_superuser"])
def test_who_may_not_do_it_any_more_does_it_no_more(
    root: User, users: list[User], loses: str
) -> None:
    found = begun(root)
    User.objects.filter(pk=root.pk).update(**{loses: False})

    bulk.run(found.pk)

    assert set(statuses(users)) == {"active"}
    assert (again(found).state, again(found).note) == (
        State.STOPPED,
        "root may not do this any more.",
    )


@pytest.mark.parametrize("loses", ["view_spotifytoken", "pause_spotifytoken"])
def test_each_permission_that_it_needs_is_looked_at(users: list[User], loses: str) -> None:
    staff = User.objects.create(username="operator", is_staff=True)
    staff.user_permissions.set(group("Pause tokens").permissions.all())
    found = begun(staff)
    staff.user_permissions.remove(Permission.objects.get(codename=loses))

    bulk.run(found.pk)

    assert set(statuses(users)) == {"active"}
    assert again(found).state == State.STOPPED


def test_it_can_be_cancelled_by_who_may_do_it(
    client: Client, root: User, users: list[User]
) -> None:
    found = begun(root)
    address = f"/admin/spotify_auth/bulkaction/{found.pk}/"
    looker = User.objects.create(username="looker", is_staff=True)
    looker.groups.add(group("Look at tokens"))
    enter_admin(client, looker)
    assert "Cancel the rest" not in client.get(f"{address}change/").content.decode()
    assert client.post(f"{address}cancel/").status_code == 403
    enter_admin(client, root)

    answer = client.post(f"{address}cancel/", follow=True).content.decode()
    bulk.run(found.pk)

    assert "Cancelled by root." in answer
    assert set(statuses(users)) == {"active"}
    assert "It was over already" in client.post(f"{address}cancel/", follow=True).content.decode()


def test_revoking_all_logs_all_out(root: User, users: list[User]) -> None:
    bulk.run(begun(root, "revoke").pk)

    assert set(statuses(users)) == {"revoked"}
    assert set(User.objects.exclude(pk=root.pk).values_list("sessions_ended", flat=True)) == {1}
    assert not LoginSession.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_locked_token_is_counted_and_the_others_are_done(
    root: User, users: list[User], settings: Settings
) -> None:
    settings.TOKEN_ENDPOINT_DEADLINE_SECONDS = -2  # so that it waits for a second: 2 x -2 + 5
    found = begun(root)
    row = "SELECT FROM spotify_auth_spotifytoken WHERE user_id = %s FOR UPDATE"
    with locked_elsewhere(row, users[2].pk):
        bulk.run(found.pk)

    assert statuses(users) == ["paused", "paused", "active", "paused", "paused"]
    assert (again(found).done, again(found).busy, again(found).state) == (4, 1, State.DONE)


def test_one_whose_worker_is_gone_is_sent_again(
    root: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, moving, over = begun(root), begun(root), begun(root)
    BulkAction.objects.filter(pk__in=[gone.pk, over.pk]).update(moved_at=Now() - 2 * bulk.ABANDONED)
    BulkAction.objects.filter(pk=over.pk).update(state=State.DONE)
    sent: list[int] = []
    monkeypatch.setattr(bulk, "_send", sent.append)

    bulk.send_abandoned()

    assert sent == [gone.pk]
    assert moving.pk not in sent


def test_those_that_ended_are_forgotten_after_three_months(root: User) -> None:
    old, running, young = begun(root), begun(root), begun(root)
    BulkAction.objects.filter(pk__in=[old.pk, running.pk]).update(moved_at=Now() - 2 * bulk.KEPT)
    BulkAction.objects.filter(pk__in=[old.pk, young.pk]).update(state=State.CANCELLED)

    bulk.forget_old()

    assert set(BulkAction.objects.values_list("pk", flat=True)) == {running.pk, young.pk}
