"""Groups for who judges tokens, and for who pauses the whole service.

Nobody is in them yet. The previous version knows neither the groups nor their permissions.
"""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

TOKEN, PAUSE = "spotifytoken", "servicepause"
LOOK = ((TOKEN, "view_spotifytoken", ""), ("tokenevent", "view_tokenevent", ""))
JUDGE = (TOKEN, "judge_spotifytoken", "Can believe or forgive a refusal, and require a reconnect")
OPERATE = (PAUSE, "operate_service", "Can pause all refreshing, resume it, and lift a cool-down")
GROUPS = {"Judge tokens": (*LOOK, JUDGE), "Operate the service": (*LOOK, OPERATE)}


def make_groups(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Make each group that is not there, with its permissions."""
    groups = apps.get_model("auth", "Group").objects
    for name, permissions in GROUPS.items():
        group, made = groups.get_or_create(name=name)
        if made:
            group.permissions.set(_permission(apps, *each) for each in permissions)


def _permission(apps: StateApps, model: str, codename: str, name: str) -> object:
    """A permission, made now: Django makes them only after all migrations have run."""
    kind, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(
        app_label="spotify_auth", model=model
    )
    permission, _ = apps.get_model("auth", "Permission").objects.get_or_create(
        content_type=kind, codename=codename, defaults={"name": name}
    )
    return permission


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0007_sessions_ended"),
        ("spotify_auth", "0019_operators_verbs"),
    ]

    operations = [migrations.RunPython(make_groups, migrations.RunPython.noop, elidable=False)]
