"""django-allauth's tables: SocialToken, whose `token_secret` is the refresh token."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.conf import settings as django_settings
from django.db import transaction
from django.db.models import BooleanField, ExpressionWrapper, F, Q, QuerySet

from spotify_auth.conf import settings
from spotify_auth.importing import candidates
from spotify_auth.importing.candidates import Candidate, Found, Unusable
from spotify_auth.importing.ranking import newest_of_each_user
from spotify_auth.importing.source import Choices, Copy, model, require_our_client
from spotify_auth.profile import account_id_in

PROVIDER = "spotify"
_ERASED = ""


@dataclass(frozen=True, slots=True)
class _Row:
    candidate: Candidate
    rows: "QuerySet[Any]"

    def erase(self) -> None:
        self.rows.update(token_secret=_ERASED)


class AllauthSource:
    """The tokens that allauth's logins stored, with SOCIALACCOUNT_STORE_TOKENS."""

    name = "allauth"
    erases_older_copies = False

    def __init__(self, choices: Choices) -> None:
        self._choices = choices
        self._tokens: QuerySet[Any]
        self._scope = ""

    def open(self) -> None:
        socialtoken = model("socialaccount", "SocialToken", library="django-allauth")
        socialapp = model("socialaccount", "SocialApp", library="django-allauth")
        configured = _configured()
        found = socialapp.objects.filter(provider=PROVIDER)
        ids = {*found.values_list("client_id", flat=True), *(app[0] for app in configured)}
        chosen = self._choices.client_id
        ours = settings.SPOTIFY_CLIENT_ID
        require_our_client(
            chosen or (ours if ours in ids else next(iter(sorted(ids)), None)),
            where="--client-id" if chosen else "allauth's application",
        )
        # Without an application of its own, a token is of the one in the settings.
        self._default = (chosen, True) if chosen else _only(configured, ours)
        self._tokens = (
            socialtoken.objects.filter(account__provider=PROVIDER)
            .select_related("account", "app")
            .order_by("-account__last_login", "-pk")
        )
        self._scope = " ".join(_options().get("SCOPE", []))

    def total(self) -> int | None:
        count: int = self._tokens.count()
        return count

    def found(self) -> Iterator[Found]:
        of_others = ~Q(app=None) & ~Q(app__client_id=settings.SPOTIFY_CLIENT_ID)
        return newest_of_each_user(
            self._tokens,
            user="account__user_id",
            newest_first=[
                # Tokens of another application are no user's newest.
                ExpressionWrapper(of_others, BooleanField()),
                F("account__last_login").desc(),
                F("pk").desc(),
            ],
            place=_place,
            is_emptied=lambda row: not row.token_secret,
            candidate=self._candidate,
        )

    @contextmanager
    def held(self, candidate: Candidate) -> Iterator[Copy | None]:
        with transaction.atomic():
            rows = self._tokens.filter(pk=candidate.key).order_by()
            row = rows.select_for_update(of=("self",)).first()
            if row is None or not row.token_secret:
                yield None
            else:
                yield _Row(self._candidate(row), row.__class__.objects.filter(pk=row.pk))

    def _candidate(self, row: Any) -> Candidate:
        client_id, has_secret = (
            (row.app.client_id, bool(row.app.secret)) if row.app else self._default
        )
        if client_id != settings.SPOTIFY_CLIENT_ID:
            raise Unusable("it was granted to another application")
        if not has_secret:
            raise Unusable(
                "its application has no client secret: a token of PKCE alone is not for a server"
            )
        return Candidate(
            place=_place(row),
            key=row.pk,
            user_id=row.account.user_id,
            refresh_token=candidates.token("refresh token", row.token_secret),
            access_token=candidates.token("access token", row.token),
            expires_at=candidates.expiry(row.expires_at),
            scope=self._scope,
            authorized_at=row.account.last_login,
            account_id=account_id_in(row.account.extra_data),
        )


def _place(row: Any) -> str:
    return f"SocialToken {row.pk}"


def _options() -> dict[str, Any]:
    providers: dict[str, Any] = getattr(django_settings, "SOCIALACCOUNT_PROVIDERS", {})
    options: dict[str, Any] = providers.get(PROVIDER, {})
    return options


def _configured() -> list[tuple[str, bool]]:
    """The applications in the settings: their client IDs, and whether they have a secret."""
    options = _options()
    apps = [*options.get("APPS", []), *([options["APP"]] if "APP" in options else [])]
    return [(app.get("client_id", ""), bool(app.get("secret"))) for app in apps]


def _only(configured: list[tuple[str, bool]], client_id: str) -> tuple[str, bool]:
    return next((app for app in configured if app[0] == client_id), ("", False))
