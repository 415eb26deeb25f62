"""Groups for administrators: look, refresh, revoke, pause, manage users.

Nobody is in them yet, except that whoever could refresh and revoke tokens until now ("change")
may go on. The previous version knows neither the groups nor their permissions, and needs neither.
"""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

LOOK = ("view_spotifytoken", "view_tokenevent")
GROUPS = {
    "Look at tokens": LOOK,
    "Refresh tokens": (*LOOK, "refresh_spotifytoken"),
    "Revoke tokens": (*LOOK, "revoke_spotifytoken"),
    "Pause tokens": (*LOOK, "pause_spotifytoken"),
    "Manage users": (
        *LOOK,
        *("view_user", "change_user", "delete_user"),
        # A user is deleted with the token and its history.
        *("delete_spotifytoken", "delete_tokenevent"),
    ),
}
NAMES = {
    "refresh_spotifytoken": "Can have a token refreshed",
    "revoke_spotifytoken": "Can revoke a token",
    "pause_spotifytoken": "Can pause refreshing, and let it go on",
}


def make_groups(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Make each group that is not there, with its permissions."""
    groups = apps.get_model("auth", "Group").objects
    for name, codenames in GROUPS.items():
        group, made = groups.get_or_create(name=name)
        if made:
            group.permissions.set(_permission(apps, codename) for codename in codenames)


def keep_powers(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Give the new permissions to everybody, and every group, with the one that they replace."""
    former = _permission(apps, "change_spotifytoken")
    new = [_permission(apps, f"{action}_spotifytoken") for action in ("refresh", "revoke")]
    for user in apps.get_model("accounts", "User").objects.filter(user_permissions=former):
        user.user_permissions.add(*new)
    for group in apps.get_model("auth", "Group").objects.filter(permissions=former):
        group.permissions.add(*new)


def _permission(apps: StateApps, codename: str) -> object:
    """A permission, made now: Django makes them only after all migrations have run."""
    app, model = _place(codename)
    kind, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(
        app_label=app, model=model
    )
    action = codename.split("_")[0]
    name = NAMES.get(codename, f"Can {action} {VERBOSE[model]}")
    permission, _ = apps.get_model("auth", "Permission").objects.get_or_create(
        content_type=kind, codename=codename, defaults={"name": name}
    )
    return permission


VERBOSE = {"spotifytoken": "Spotify token", "tokenevent": "token event", "user": "user"}


def _place(codename: str) -> tuple[str, str]:
    model = codename.split("_")[1]
    return ("accounts" if model == "user" else "spotify_auth"), model


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_copy_to_spotify_auth"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("spotify_auth", "0014_admin_actions"),
    ]

    operations = [
        migrations.RunPython(make_groups, migrations.RunPython.noop, elidable=False),
        migrations.RunPython(keep_powers, migrations.RunPython.noop, elidable=False),
    ]
