"""The user behind a session, and where it is used."""

from django.contrib.auth.models import AbstractUser
from django.contrib.sessions.models import Session
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.crypto import salted_hmac


class User(AbstractUser):
    """A user: staff with a username and a password, or a listener who logs in with Spotify.

    The Spotify account stands on the token (`SpotifyToken.account_id`). Users who log in by
    it have no username, no e-mail and no usable password.

    `account_id` and `seen_at` are for the previous version, which runs beside this one during
    an upgrade: both are written still, and read only for rows that the previous version made
    (users.py, middleware.py). The next release drops them, the constraint and the trigger of
    migration 0004, once it has copied again what is missing on the tokens.

    The admin's search looks for how names begin, in indexes that migration 0009 makes.
    """

    # NULL and not "" for users who log in with Spotify: the column is unique.
    username = models.CharField(  # type: ignore[assignment]
        max_length=150, unique=True, null=True, blank=True
    )
    account_id = models.CharField(
        "Spotify account ID", max_length=255, unique=True, null=True, blank=True, editable=False
    )
    display_name = models.CharField(max_length=255, blank=True)
    seen_at = models.DateTimeField(
        db_default=Now(), help_text="When a page last met this person, to within a day."
    )

    sessions_ended = models.PositiveIntegerField(
        db_default=0, editable=False, help_text="How often all sessions of this user were ended."
    )

    class Meta(AbstractUser.Meta):
        constraints = (
            models.CheckConstraint(
                condition=Q(username__isnull=False) | Q(account_id__isnull=False),
                name="user_has_username_or_account_id",
            ),
        )

    def __str__(self) -> str:
        return self.display_name or self.username or "Spotify listener"

    def get_short_name(self) -> str:
        """The name that pages greet the user with."""
        return str(self)

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        """What a session must know of its user to be valid: Django's, and `sessions_ended`."""
        known: str = super()._get_session_auth_hash(secret)  # type: ignore[misc]
        if not self.sessions_ended:
            return known  # as the previous version has it
        salt = f"accounts.sessions_ended.{self.sessions_ended}"
        return salted_hmac(salt, known, secret=secret, algorithm="sha256").hexdigest()


class LoginSession(models.Model):
    """Whose a session is, and the browser that brought it last: for "Where you are logged in".

    A table of its own, since that of the sessions is Django's. It goes with the session and with
    the user in PostgreSQL, also when code that does not know it deletes one of them.
    """

    # The migration makes both constraints, with ON DELETE CASCADE.
    session = models.OneToOneField(
        Session, on_delete=models.CASCADE, related_name="login", db_constraint=False
    )
    user = models.ForeignKey(
        User, on_delete=models.CASCADE, related_name="login_sessions", db_constraint=False
    )
    user_agent = models.CharField(max_length=255, blank=True, db_default="")
    since = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField(
        db_default=Now(), help_text="When a page last met it, to within an hour."
    )

    def __str__(self) -> str:
        return f"Session of user {self.user_id} since {self.since:%Y-%m-%d %H:%M:%S}"


class ReconnectReminder(models.Model):
    """A mail that says how soon the six months are over: one for each of a few days."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    reauthorize_by = models.DateTimeField()
    days = models.PositiveSmallIntegerField(help_text="Days before the end: 30, 7 or 1.")
    sent_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("user", "reauthorize_by", "days"), name="reminder_sent_once"
            ),
        )
        indexes = (models.Index(fields=["id"], condition=Q(sent_at=None), name="reminder_waiting"),)

    def __str__(self) -> str:
        return f"{self.days} days before {self.reauthorize_by:%Y-%m-%d}, to user {self.user_id}"
