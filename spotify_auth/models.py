"""What is stored: one token per user, its history, when users were seen, logins that were used."""

from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias, cast
from uuid import UUID

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from spotify_auth.fields import EncryptedTextField
from spotify_auth.figures.tables import EventCount, FreshnessSample, RolledUp, StatusCount
from spotify_auth.history.tables import HistoryMark
from spotify_auth.notices.models import AnnouncedPause, Notice
from spotify_auth.secrecy import forgets_variables
from spotify_auth.webhooks.models import WebhookDelivery, WebhookEndpoint

# Django looks here for the models of an app.
__all__ = (
    "AnnouncedPause",
    "EventCount",
    "FreshnessSample",
    "HistoryMark",
    "Notice",
    "RolledUp",
    "StatusCount",
    "WebhookDelivery",
    "WebhookEndpoint",
)

if TYPE_CHECKING:
    UserId: TypeAlias = int  # what this repository's own user model has, as django-stubs knows
else:
    UserId = int | str | UUID
    """A user's primary key, whatever the project's user model has."""

TokenColumn = Literal["access_token", "refresh_token"]


class Cause(models.TextChoices):
    """Why an exchange took place."""

    SCHEDULE = "schedule", "Schedule"
    """The token was due."""
    STALE_READ = "stale_read", "A page met a stale token"
    UNAUTHORIZED = "unauthorized", "The Web API answered 401"
    ADMIN = "admin", "An administrator asked"
    LOGIN = "login", "The user logged in"
    ADOPTED = "adopted", "Tokens obtained elsewhere"
    """By another library's login, or by an import (`adopting.adopt`)."""
    RESCUE = "rescue", "Stored after PostgreSQL had failed"
    APPEAL = "appeal", "Asked again after a verdict"
    DISCONNECT = "disconnect", "The user disconnected"


class Outcome(models.TextChoices):
    """What came of it."""

    CONNECTED = "connected", "Connected"
    REFRESHED = "refreshed", "Refreshed"
    RETRY = "retry", "Failed, will be tried again"
    """Spotify could not answer."""
    ANSWER_UNKNOWN = "answer_unknown", "No usable answer: Spotify may have rotated"
    SUSPECTED = "suspected", "Refused, will be asked again"
    RECONNECT_REQUIRED = "reconnect_required", "Reconnect required"
    DISCONNECTED = "disconnected", "Disconnected"
    REVOKED = "revoked", "Revoked by an administrator"
    REFRESH_REQUESTED = "refresh_requested", "Refresh requested"
    """The refresh itself is an event of its own."""
    PAUSED = "paused", "Paused by an administrator"
    RESUMED = "resumed", "Resumed by an administrator"
    FORGIVEN = "forgiven", "Forgiven by an administrator, will be asked again"


class SpotifyToken(models.Model):
    """One user's access and refresh token, and their state.

    `generation` names one token pair: it rises by one at every successful exchange and
    fences late writes. Times are PostgreSQL's, in UTC.
    """

    class Status(models.TextChoices):
        ACTIVE = "active", "Connected"
        """Kept fresh in the background."""
        RECONNECT_REQUIRED = "reconnect_required", "Reconnect required"
        """Spotify refused the refresh token for good. The row and its history are kept."""
        PAUSED = "paused", "Paused"
        """An administrator lets nobody present the refresh token. Both tokens are kept."""
        DISCONNECTED = "disconnected", "Disconnected"
        """The user disconnected. Both tokens are erased."""
        REVOKED = "revoked", "Revoked"
        """An administrator revoked it. Both tokens are erased."""

    ERASED: ClassVar = (Status.DISCONNECTED, Status.REVOKED)
    """The states without tokens."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        primary_key=True,
        related_name="spotify_auth_token",
    )
    # Of the older `id` Spotify says "do not use this field for account linking"
    # (https://developer.spotify.com/documentation/web-api/concepts/spotify-uris-ids).
    # NULL and not "" where it is not known, since it is unique: a token from elsewhere, or
    # stored by the previous version.
    account_id = models.CharField(  # noqa: DJ001
        "Spotify account ID",
        max_length=255,
        null=True,
        editable=False,
        help_text="The account that granted the tokens: one user's only, and it never changes.",
    )
    status = models.CharField(max_length=20, choices=Status.choices, default=Status.ACTIVE)
    access_token = EncryptedTextField(null=True)
    refresh_token = EncryptedTextField(null=True)
    scope = models.TextField(blank=True, help_text="Granted scopes, separated by spaces.")
    generation = models.PositiveIntegerField(default=1)
    authorized_at = models.DateTimeField(help_text="When the user last approved on Spotify.")
    authorized_at_known = models.BooleanField(
        default=True,
        db_default=True,
        help_text="If not, the user approved then or earlier: nobody is asked to reconnect by it.",
    )
    reauthorize_by = models.DateTimeField(
        help_text="Six months after the approval the refresh token dies, refreshed or not."
    )
    refreshed_at = models.DateTimeField(
        help_text="Start of the exchange that gave the present pair."
    )
    expires_at = models.DateTimeField(help_text="When the access token expires.")
    due_at = models.DateTimeField(help_text="From when on it should be refreshed.")
    due_cause = models.CharField(max_length=20, choices=Cause.choices, default=Cause.SCHEDULE)
    asked_by = models.CharField(
        max_length=100,
        blank=True,
        db_default="",
        help_text="The page or the administrator behind due_cause, where somebody asked.",
    )
    failures = models.PositiveIntegerField(default=0, help_text="Failed attempts in a row.")
    closed_at = models.DateTimeField(
        null=True, help_text="When the tokens were last erased: logins begun before are void."
    )
    suspected_at = models.DateTimeField(
        null=True, help_text="When Spotify first answered invalid_grant since the last grant."
    )
    appeal_at = models.DateTimeField(
        null=True, help_text="When Spotify is asked again in spite of a verdict."
    )
    appeals = models.PositiveSmallIntegerField(
        db_default=0, help_text="Appeals against the present verdict that were refused."
    )
    last_error = models.CharField(max_length=100, blank=True)

    class Meta:
        verbose_name = "Spotify token"
        # What the admin's actions ask for, beside Django's own "view".
        permissions = (
            ("refresh_spotifytoken", "Can have a token refreshed"),
            ("revoke_spotifytoken", "Can revoke a token"),
            ("pause_spotifytoken", "Can pause refreshing, and let it go on"),
            ("judge_spotifytoken", "Can believe or forgive a refusal, and require a reconnect"),
        )
        indexes = (
            # The due index is the queue: lanes take the smallest due_at from it.
            models.Index(fields=["due_at"], condition=Q(status="active"), name="token_due"),
            # What the operator is told of (`freshness`). Healthy tokens leave no entry here.
            models.Index(
                fields=["expires_at"],
                condition=Q(status="active", failures__gt=0),
                name="token_struggling",
            ),
            # A verdict that no appeal awaits leaves no entry here.
            models.Index(
                fields=["appeal_at"],
                condition=Q(status="reconnect_required", appeal_at__isnull=False),
                name="token_appeal",
            ),
            # For the admin's filters. A refresh that succeeds leaves no entry here.
            models.Index(
                fields=["last_error", "-user"], condition=~Q(last_error=""), name="token_error"
            ),
            models.Index(
                fields=["suspected_at"],
                condition=Q(suspected_at__isnull=False),
                name="token_suspected",
            ),
            # To count them too (`figures.statuses`).
            models.Index(
                fields=["status", "-user"], condition=~Q(status="active"), name="token_not_active"
            ),
            # Whose six months end soon: the only one of these with an entry of every token.
            models.Index(
                fields=["reauthorize_by"], condition=Q(status="active"), name="token_reconnect_by"
            ),
        )
        constraints = (
            models.UniqueConstraint(
                fields=("account_id",),
                condition=Q(account_id__isnull=False),
                name="token_account_once",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=["active", "reconnect_required"])
                | Q(access_token__isnull=False, refresh_token__isnull=False),
                name="token_kept_while_connected",
            ),
            models.CheckConstraint(
                condition=~Q(status="paused")
                | Q(access_token__isnull=False, refresh_token__isnull=False),
                name="token_kept_while_paused",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=["disconnected", "revoked"])
                | Q(access_token__isnull=True, refresh_token__isnull=True),
                name="token_erased_when_closed",
            ),
        )

    def __str__(self) -> str:
        return f"Spotify token of user {self.pk}, generation {self.generation}"

    @classmethod
    @forgets_variables
    def seal(cls, column: TokenColumn, plaintext: str, *, user_id: UserId) -> bytes:
        """Encrypt one column's value for one user's row, for statements written in SQL."""
        return cls._encrypted(column).seal(plaintext, primary_key=user_id)

    @classmethod
    @forgets_variables
    def unseal(cls, column: TokenColumn, stored: bytes, *, user_id: UserId) -> str:
        """Decrypt what such a statement read. Raises encryption.DecryptionError."""
        return cls._encrypted(column).unseal(stored, primary_key=user_id)

    @classmethod
    def _encrypted(cls, column: TokenColumn) -> EncryptedTextField:
        return cast(EncryptedTextField, cls._meta.get_field(column))


class TokenEvent(models.Model):
    """One thing that happened to a token: never its value, but everything else.

    Routine successes lie in tables that inherit from this one (`spotify_auth.history`): they are
    read, and deleted, through it.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="spotify_auth_events",
        db_index=False,  # `event_of_user` begins with it
    )
    at = models.DateTimeField(db_default=Now())
    cause = models.CharField(max_length=20, choices=Cause.choices)
    asked_by = models.CharField(
        max_length=100,
        blank=True,
        db_default="",
        help_text="The page or the administrator behind the cause.",
    )
    reason = models.CharField(
        max_length=200,
        blank=True,
        db_default="",
        help_text="Why, in the administrator's words.",
    )
    outcome = models.CharField(max_length=20, choices=Outcome.choices)
    generation_before = models.PositiveIntegerField(null=True)
    generation_after = models.PositiveIntegerField(null=True)
    rotated = models.BooleanField(
        default=False, help_text="Whether the answer carried a new refresh token."
    )
    lifetime_granted = models.PositiveIntegerField(null=True, help_text="Seconds.")
    lifetime_used = models.PositiveIntegerField(
        null=True, help_text="Age of the replaced access token, in seconds."
    )
    duration_ms = models.PositiveIntegerField(
        null=True, help_text="Length of the exchange in milliseconds."
    )
    worker = models.CharField(
        max_length=100, blank=True, help_text="Not of routine successes: they are too many."
    )
    error = models.CharField(max_length=100, blank=True)
    ended_trouble = models.BooleanField(
        db_default=False, help_text="Whether this refresh came after failures, and ended them."
    )

    class Meta:
        ordering = ("-id",)
        indexes = (
            models.Index(fields=["user", "-id"], name="event_of_user"),
            models.Index(fields=["at"], name="event_at"),
        )

    def __str__(self) -> str:
        return f"{self.outcome} for user {self.user_id} at {self.at:%Y-%m-%d %H:%M:%S}"


class LastSeen(models.Model):
    """When a page last met a user, to within a day: REFRESH_DORMANT_AFTER goes by it.

    A table of its own, and not a column of the token, since a request must not wait for the
    row lock of a token; nor of the user, since that model is the project's.
    """

    # The migration makes the constraint, with ON DELETE CASCADE: code that does not know this
    # table, such as the previous version during an upgrade, may delete users too.
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        primary_key=True,
        related_name="+",
        db_constraint=False,
    )
    seen_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "last seen"

    def __str__(self) -> str:
        return f"User {self.pk} seen at {self.seen_at:%Y-%m-%d %H:%M:%S}"


class UsedLogin(models.Model):
    """A login's `state` whose code was traded, or was about to be: it is good for one use.

    The attempts themselves are in their browsers (`login_attempts`). Rows are deleted once the
    attempt would be too old anyway.
    """

    state_digest = models.CharField(
        primary_key=True, max_length=64, help_text="SHA-256 of the state."
    )
    used_at = models.DateTimeField()

    class Meta:
        indexes = (models.Index(fields=["used_at"], name="login_used_at"),)

    def __str__(self) -> str:
        return f"Login completed at {self.used_at:%Y-%m-%d %H:%M:%S}"


class LoginAttempt(models.Model):
    """A login that the previous version began (`login_rows`). The next release drops the table."""

    state_digest = models.CharField(
        primary_key=True, max_length=64, help_text="SHA-256 of the state."
    )
    browser_digest = models.CharField(max_length=64, help_text="SHA-256 of the browser's cookie.")
    code_verifier = EncryptedTextField()
    next_url = models.CharField(max_length=2000, blank=True)
    door = models.CharField(
        max_length=20, db_default="login", help_text="Which view began it: login or connect."
    )
    for_user = models.CharField(
        max_length=64,
        blank=True,
        db_default="",
        help_text="The primary key of the only user who may complete it; blank for a login.",
    )
    switch = models.BooleanField(
        db_default=False, help_text="Whether the user asked for another Spotify account."
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = (models.Index(fields=["created_at"], name="login_created_at"),)

    def __str__(self) -> str:
        return f"Login under way since {self.created_at:%Y-%m-%d %H:%M:%S}"


class ServicePause(models.Model):
    """A pause of all refreshing that an operator ordered (`service_pause`): on until `ended_at`.

    A table and not a key of Redis, which may be lost; the rows that are over tell what was.
    """

    since = models.DateTimeField(db_default=Now())
    by = models.CharField(max_length=100, help_text="Who ordered it.")
    reason = models.CharField(max_length=200, help_text="Why, in their words.")
    ended_at = models.DateTimeField(null=True, help_text="Empty: nobody refreshes a token now.")
    ended_by = models.CharField(max_length=100, blank=True, db_default="")
    end_reason = models.CharField(max_length=200, blank=True, db_default="")

    class Meta:
        permissions = (
            ("operate_service", "Can pause all refreshing, resume it, and lift a cool-down"),
        )
        constraints = (
            # Also what each claim looks into: it has one entry while all is paused, or none.
            models.UniqueConstraint(
                models.ExpressionWrapper(
                    Q(ended_at__isnull=True), output_field=models.BooleanField()
                ),
                condition=Q(ended_at__isnull=True),
                name="service_paused_once",
            ),
        )

    def __str__(self) -> str:
        return f"Pause of all refreshing since {self.since:%Y-%m-%d %H:%M:%S}"


class Chore(models.Model):
    """Work that some worker does every so often, whichever finds it due (`chores`)."""

    name = models.CharField(primary_key=True, max_length=100, help_text="Celery's name for it.")
    done_at = models.DateTimeField(null=True, help_text="When it was last begun. Empty: it is due.")
    times = models.BigIntegerField(db_default=0, help_text="How often it was begun so far.")

    def __str__(self) -> str:
        return self.name


class Presence(models.Model):
    """A worker or a beat that runs, or that ended without saying so (`presence`)."""

    class Kind(models.TextChoices):
        WORKER = "worker", "Worker"
        BEAT = "beat", "Beat"

    # Not host and process id: in a container every process has the same.
    id = models.UUIDField(primary_key=True)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField("process id")
    version = models.CharField(max_length=50)
    lanes_allowed = models.PositiveIntegerField(help_text="Lanes it may run at the same time.")
    lanes_running = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField(help_text="When it last said that it is there.")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.kind} {self.pid} on {self.host}"


class BulkAction(models.Model):
    """An administrator's action on all tokens that match a filter, done by workers (`bulk`)."""

    class State(models.TextChoices):
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        CANCELLED = "cancelled", "Cancelled"
        STOPPED = "stopped", "Stopped"
        """It could not go on; `note` says why."""

    action = models.CharField(max_length=30, help_text="Its name, as in `admin_pages.actions`.")
    query = models.TextField(
        "Filter", blank=True, help_text="Of the list of tokens, as in its address. Blank: all."
    )
    # Not a foreign key: code that does not know this table may delete users.
    administrator = models.CharField(max_length=64, help_text="Their primary key.")
    by = models.CharField("Begun by", max_length=100)
    reason = models.CharField(max_length=200)
    state = models.CharField(max_length=20, choices=State.choices, default=State.RUNNING)
    note = models.CharField(max_length=200, blank=True)
    matched = models.PositiveIntegerField(
        null=True, help_text="Tokens that matched when a worker began."
    )
    cursor = models.CharField(
        max_length=64, blank=True, help_text="The user of the last token that is through."
    )
    done = models.PositiveIntegerField(default=0)
    not_applicable = models.PositiveIntegerField(
        default=0, help_text="In a state on which the action does not work."
    )
    busy = models.PositiveIntegerField(
        default=0, help_text="Locked for longer than a step waits: not done."
    )
    created_at = models.DateTimeField("Begun", db_default=Now())
    moved_at = models.DateTimeField(db_default=Now(), help_text="When the last step was made.")

    class Meta:
        indexes = (models.Index(fields=["id"], condition=Q(state="running"), name="bulk_running"),)

    def __str__(self) -> str:
        return f"{self.action} of all tokens that match {self.query or 'no filter'}"

    @property
    def looked_at(self) -> int:
        """How many tokens are through."""
        return self.done + self.not_applicable + self.busy


class Operations(Presence):
    """No rows of its own: the operations page's place in the admin's index."""

    class Meta:
        proxy = True
        default_permissions = ()
        verbose_name = verbose_name_plural = "operations"
