"""What the role of PostgreSQL may do: a table that another role has made grants it nothing."""

from collections.abc import Iterator
from typing import Final

from django.apps import apps
from django.db import connection

from spotify_auth.doctor.findings import Finding, problem
from spotify_auth.history.tables import EVENTS, FOLDED, ROUTINE

_NEVER_CHANGED: Final = {EVENTS, ROUTINE}
"""To these the service adds, and from these it deletes."""
_LACKING = """
SELECT relname, string_agg(needed, ', ' ORDER BY needed), current_user
FROM unnest(%(tables)s::text[], %(rights)s::text[]) AS wanted (relname, needed)
JOIN pg_class USING (relname)
WHERE pg_table_is_visible(oid) AND NOT has_table_privilege(oid, needed)
GROUP BY relname ORDER BY relname
"""


def look() -> Iterator[Finding]:
    """Nothing, if all is granted. Tables that are not there are another check's."""
    wanted = [(table, right) for table in _tables() for right in _needed(table)]
    with connection.cursor() as cursor:
        cursor.execute(
            _LACKING,
            {"tables": [table for table, _ in wanted], "rights": [right for _, right in wanted]},
        )
        lacking = cursor.fetchall()
    if not lacking:
        return
    table, rights, role = lacking[0]
    others = f" and {len(lacking) - 1} other tables" if len(lacking) > 1 else ""
    yield problem(
        f"The role {role} lacks rights: {rights} on {table}{others}.",
        "Grant them as the owner of the tables, and for the tables of later migrations too: "
        "docs/how-to/make-the-history-append-only.md has the statements.",
    )


def _tables() -> list[str]:
    ours = {model._meta.db_table for model in apps.get_app_config("spotify_auth").get_models()}
    all_apps = connection.introspection.django_table_names()
    return sorted({*ours, *all_apps, ROUTINE, FOLDED, "django_migrations"})


def _needed(table: str) -> set[str]:
    """All that the service does with tables of its own; any other it reads at least."""
    if not table.startswith("spotify_auth_"):
        return {"SELECT"}
    rights = {"SELECT", "INSERT", "UPDATE", "DELETE"}
    return rights - {"UPDATE"} if table in _NEVER_CHANGED else rights
