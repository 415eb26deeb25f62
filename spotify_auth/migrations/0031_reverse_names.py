"""The names of these relations at the user: two that no project has. Nothing for the database."""

from django.conf import settings
from django.db import migrations, models
from django.db.models.deletion import CASCADE


class Migration(migrations.Migration):
    dependencies = [
        ("spotify_auth", "0030_adopted"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterField(
            model_name="spotifytoken",
            name="user",
            field=models.OneToOneField(
                on_delete=CASCADE,
                primary_key=True,
                related_name="spotify_auth_token",
                serialize=False,
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AlterField(
            model_name="tokenevent",
            name="user",
            field=models.ForeignKey(
                db_index=False,
                on_delete=CASCADE,
                related_name="spotify_auth_events",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
    ]
