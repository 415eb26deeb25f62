"""Nobody makes an administrator but a superuser, and no record of one is deleted."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.db.models.deletion import ProtectedError
from django.test import Client

from accounts.models import User
from spotify_auth import verbs
from spotify_auth.models import SpotifyToken
from spotify_auth.verbs import Operator
from tests.support.admin import PASSWORD, enter_admin, group
from tests.support.tokens import Connect

pytestmark = pytest.mark.django_db

USERS = "/admin/accounts/user/"
POWERS = ("is_staff", "is_superuser")


@pytest.fixture
def people(client: Client) -> User:
    """Somebody who manages users, in the admin."""
    user = User.objects.create(username="people", is_staff=True)
    user.groups.add(group("Manage users"))
    enter_admin(client, user)
    return user


def form_of(user: User, **more: object) -> dict[str, object]:
    """The form of a user as a browser would send it, with what an attacker adds."""
    form = {"username": user.username or "", "first_name": "", "last_name": "", "email": ""}
    return {**form, "is_active": "on", **more}


def everything(user: User) -> dict[str, object]:
    powers = dict.fromkeys(POWERS, "on")
    refresh = Permission.objects.get(codename="refresh_spotifytoken").pk
    return form_of(user, **powers, groups=group("Revoke tokens").pk, user_permissions=refresh)


def powers_of(user: User) -> tuple[object, ...]:
    fresh = User.objects.get(pk=user.pk)
    return (
        *(getattr(fresh, power) for power in POWERS),
        *fresh.groups.values_list("name", flat=True),
        *fresh.user_permissions.values_list("codename", flat=True),
    )


def test_who_manages_users_changes_a_listener_but_no_powers(
    client: Client, people: User, connect: Connect
) -> None:
    listener = connect()

    answer = client.post(
        f"{USERS}{listener.pk}/change/", {**everything(listener), "first_name": "Ada"}
    )

    assert answer.status_code == 302
    assert User.objects.get(pk=listener.pk).first_name == "Ada"
    assert LogEntry.objects.get().object_repr == f"user {listener.pk}"
    assert powers_of(listener) == (False, False)


def test_who_manages_users_does_not_promote_themselves(client: Client, people: User) -> None:
    before = powers_of(people)

    assert client.post(f"{USERS}{people.pk}/change/", everything(people)).status_code == 403

    assert powers_of(people) == before


@pytest.mark.parametrize("kind", ["superuser", "staff"])
def test_administrators_cannot_be_touched_by_others(
    client: Client, people: User, kind: str
) -> None:
    victim = User.objects.create(
        username="victim", is_staff=True, is_superuser=kind == "superuser", password="!"
    )
    new = {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
    page = f"{USERS}{victim.pk}"

    assert client.post(f"{page}/change/", form_of(victim, username="mine")).status_code == 403
    assert client.post(f"{page}/password/", new).status_code == 403
    assert client.post(f"{page}/delete/", {"post": "yes"}).status_code == 403
    client.post(USERS, {"action": "delete_selected", "_selected_action": victim.pk, "post": "yes"})

    now = User.objects.get(pk=victim.pk)
    assert (now.username, now.password) == ("victim", "!")


def test_who_manages_users_may_set_a_listeners_password(client: Client, people: User) -> None:
    listener = User.objects.create(username="ada")
    new = {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}

    assert client.post(f"{USERS}{listener.pk}/password/", new).status_code == 302
    assert User.objects.get(pk=listener.pk).check_password(PASSWORD)


def test_passwords_have_twelve_characters(client: Client) -> None:
    enter_admin(client, User.objects.create_superuser("root"))
    new = {"password1": "tr0ub4dor&3", "password2": "tr0ub4dor&3", "usable_password": "true"}
    listener = User.objects.create(username="ada")

    page = client.post(f"{USERS}{listener.pk}/password/", new).content.decode()

    assert "at least 12 characters" in page


def test_groups_are_for_superusers(client: Client, people: User) -> None:
    for action in ("add", "change", "delete", "view"):
        people.user_permissions.add(Permission.objects.get(codename=f"{action}_group"))
    mine = group("Manage users")
    form = {"name": "mine", "permissions": [Permission.objects.all()[0].pk]}

    assert client.get(f"/admin/auth/group/{mine.pk}/change/").status_code == 200  # looking
    assert client.post(f"/admin/auth/group/{mine.pk}/change/", form).status_code == 403
    assert client.post("/admin/auth/group/add/", form).status_code == 403
    assert client.post(f"/admin/auth/group/{mine.pk}/delete/", {"post": "yes"}).status_code == 403
    assert Group.objects.filter(name="Manage users").exists()


def test_a_superuser_gives_powers(client: Client, connect: Connect) -> None:
    enter_admin(client, User.objects.create_superuser("root"))
    listener = connect()

    client.post(f"{USERS}{listener.pk}/change/", everything(listener))

    assert powers_of(listener) == (True, True, "Revoke tokens", "refresh_spotifytoken")


def test_a_session_from_before_a_deactivation_stays_ended(
    client: Client, people: User, connect: Connect
) -> None:
    listener = connect()
    browser = Client()
    browser.force_login(listener)
    form = form_of(listener)
    del form["is_active"]

    client.post(f"{USERS}{listener.pk}/change/", form)
    assert not User.objects.get(pk=listener.pk).is_active
    client.post(f"{USERS}{listener.pk}/change/", {**form, "is_active": "on"})

    assert User.objects.get(pk=listener.pk).is_active
    assert browser.get("/connection/").status_code == 302


def test_who_manages_users_deletes_listeners_alone_and_in_bulk(
    client: Client, people: User, connect: Connect
) -> None:
    first, second = connect("user-1"), connect("user-2")

    client.post(f"{USERS}{first.pk}/delete/", {"post": "yes"})
    client.post(USERS, {"action": "delete_selected", "_selected_action": second.pk, "post": "yes"})

    assert not SpotifyToken.objects.exists()
    assert not User.objects.filter(username=None).exists()
    # The record stays, and names nobody who is gone.
    records = LogEntry.objects.filter(user=people).values_list("object_repr", flat=True)
    assert set(records) == {f"user {first.pk}", f"user {second.pk}"}


def test_who_has_acted_is_deactivated_and_not_deleted(client: Client, connect: Connect) -> None:
    root = User.objects.create_superuser("root")
    former = User.objects.create(username="former", is_staff=True)
    user = connect()
    verbs.revoke(user.pk, operator=Operator.of(former), reason="r")
    User.objects.filter(pk=former.pk).update(is_staff=False)
    enter_admin(client, root)

    assert client.post(f"{USERS}{former.pk}/delete/", {"post": "yes"}).status_code == 403
    client.post(USERS, {"action": "delete_selected", "_selected_action": former.pk, "post": "yes"})
    with pytest.raises(ProtectedError, match="deactivate"), transaction.atomic():
        User.objects.get(pk=former.pk).delete()
    client.force_login(former)
    assert client.post("/account/delete/").status_code == 403
    assert "Delete my account" not in client.get("/connection/").content.decode()
    user.refresh_from_db()  # the revocation has ended its sessions
    client.force_login(user)
    assert "Delete my account" in client.get("/connection/").content.decode()

    assert LogEntry.objects.filter(user=former).count() == 1
