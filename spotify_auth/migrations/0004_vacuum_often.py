"""Vacuum the tokens often, since a claim steps over what refreshes have left.

A refresh moves a token from the left end of the due index to its right, and its old entry
stays at the left, where each claim begins, until a vacuum. By default that comes when a
fifth of the table is dead (docs/explanation/decisions.md has figures).
"""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("spotify_auth", "0003_switch_account"),
    ]

    operations = [
        migrations.RunSQL(
            sql="""
                ALTER TABLE spotify_auth_spotifytoken SET (
                    autovacuum_vacuum_scale_factor = 0.01,
                    -- Else a vacuum leaves the indexes alone when few pages have dead rows.
                    vacuum_index_cleanup = on
                )
            """,
            reverse_sql="""
                ALTER TABLE spotify_auth_spotifytoken RESET (
                    autovacuum_vacuum_scale_factor, vacuum_index_cleanup
                )
            """,
        ),
    ]
