from django.db import migrations


class Migration(migrations.Migration):
    # In a transaction of its own: looking through the table then holds up no refresh.
    dependencies = [
        ("spotify_auth", "0019_operators_verbs"),
    ]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE spotify_auth_spotifytoken VALIDATE CONSTRAINT token_kept_while_paused",
            migrations.RunSQL.noop,
        ),
    ]
