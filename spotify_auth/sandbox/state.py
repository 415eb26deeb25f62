"""Everything the sandbox remembers: accounts, their grants, codes and tokens.

No HTTP here. Time is the monotonic clock, so that setting the host's clock does not
expire anything.
"""

import asyncio
import secrets
import time
from base64 import urlsafe_b64encode
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from .counters import AccountCounters, Counters
from .signed_tokens import TokenFacts, TokenSigner
from .worlds import DEFAULT, World

SIX_MONTHS_SECONDS = 182 * 24 * 3600
"""A refresh token dies this long after the authorisation, and refreshing does not extend
it (developer.spotify.com/blog/2026-06-18-refresh-token-expiration)."""

CODE_LIFETIME_SECONDS = 600
"""Spotify's codes live "some minutes"; it publishes no number. RFC 6749 4.1.2 says ten at most."""

_REMEMBERED_ROTATIONS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the command line decides."""

    client_id: str
    client_secret: str
    redirect_uris: tuple[str, ...]
    access_token_lifetime: int
    code_lifetime: int = CODE_LIFETIME_SECONDS
    refresh_token_lifetime: int = SIX_MONTHS_SECONDS
    world: World = DEFAULT
    reuse_revokes_grant: bool = False


@dataclass(slots=True, eq=False)
class Account:
    """A Spotify user of the sandbox. It comes into being when it is first mentioned."""

    persona_id: str
    account_id: str
    counters: AccountCounters = field(default_factory=AccountCounters)
    grants: list["Grant"] = field(default_factory=list)
    approved_scopes: frozenset[str] | None = None
    """The scopes the person agreed to; None when the app is not on their list."""
    exchanging: set[asyncio.BaseTransport] = field(default_factory=set)
    """The connections on which a token exchange of this account is in progress."""


@dataclass(slots=True, eq=False, kw_only=True)
class Grant:
    """One authorisation, and the family of tokens that came from it.

    `generation` numbers the pairs: 1 at login, one more at each refresh. A refresh token
    that is not rotated stays behind, at `refresh_generation`.
    """

    number: int
    account: Account
    scope: str
    authorized_at: float
    generation: int = 1
    refresh_generation: int = 1
    oldest_live_access_generation: int = 1
    revoked: bool = False
    rotations: deque[tuple[int, float]] = field(
        default_factory=lambda: deque(maxlen=_REMEMBERED_ROTATIONS)
    )
    """Which refresh generations were replaced last, and when."""

    def seconds_dead(self, generation: int, now: float) -> float:
        """How long ago rotation replaced this refresh token; infinite if long forgotten."""
        for dead, died_at in self.rotations:
            if dead == generation:
                return now - died_at
        return float("inf")

    def kill_access_tokens(self) -> None:
        """Every access token given out so far stops working."""
        self.oldest_live_access_generation = self.generation + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationCode:
    """What the code is bound to, and so what its exchange must show."""

    account: Account
    scope: str
    redirect_uri: str
    code_challenge: str | None
    expires_at: float


class State:
    """The memory of one sandbox, from its start or its last reset."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.started_at = time.monotonic()
        self.totals = Counters()
        self.exchanges_in_flight = 0
        self.dead_tokens_shown: list[str] = []
        """Digests of refresh tokens that were shown after rotation had replaced them."""
        self.answers_spoiled: list[str] = []
        """Digests of refresh tokens whose successor a fault cut off or dripped."""
        self.accounts: dict[str, Account] = {}
        self.account_ids: dict[str, Account] = {}
        self._grants: list[Grant] = []
        self._codes: dict[str, AuthorizationCode] = {}
        self._refresh_tokens = TokenSigner("AQ")
        self._access_tokens = TokenSigner("BQ")

    @property
    def grants(self) -> Sequence[Grant]:
        """All grants, in the order of their numbers."""
        return self._grants

    @property
    def refresh_key(self) -> bytes:
        """What signs the refresh tokens."""
        return self._refresh_tokens.key

    def restore(self, grants: Iterable[Grant], *, refresh_key: bytes) -> None:
        """Take up the grants of an earlier run, and the key that knows their refresh tokens."""
        self._refresh_tokens = TokenSigner("AQ", refresh_key)
        for grant in grants:
            self._grants.append(grant)
            grant.account.grants.append(grant)
            if not grant.revoked:
                known = grant.account.approved_scopes or frozenset()
                grant.account.approved_scopes = known | set(grant.scope.split())

    def account(self, persona_id: str) -> Account:
        """The account of this persona, made at the first call."""
        account = self.accounts.get(persona_id)
        if account is None:
            account = Account(persona_id, account_id_of(persona_id))
            self.accounts[persona_id] = account
            self.account_ids[account.account_id] = account
        return account

    def new_code(
        self, account: Account, *, scope: str, redirect_uri: str, code_challenge: str | None
    ) -> str:
        now = time.monotonic()
        self._forget_old_codes(now)
        code = "AQ" + secrets.token_urlsafe(64)
        self._codes[code] = AuthorizationCode(
            account=account,
            scope=scope,
            redirect_uri=redirect_uri,
            code_challenge=code_challenge,
            expires_at=now + self.settings.code_lifetime,
        )
        return code

    def find_code(self, code: str) -> AuthorizationCode | None:
        return self._codes.get(code)

    def spend_code(self, code: str) -> None:
        """A code is good for one attempt, successful or not."""
        self._codes.pop(code, None)

    def new_grant(self, account: Account, scope: str) -> Grant:
        grant = Grant(
            number=len(self._grants), account=account, scope=scope, authorized_at=time.monotonic()
        )
        self._grants.append(grant)
        account.grants.append(grant)
        account.counters.logins += 1
        self.totals.logins += 1
        return grant

    def refresh_token(self, grant: Grant) -> str:
        return self._refresh_tokens.make(TokenFacts(grant.number, grant.refresh_generation, 0.0))

    def access_token(self, grant: Grant) -> str:
        expires_at = time.monotonic() + self.settings.access_token_lifetime
        return self._access_tokens.make(TokenFacts(grant.number, grant.generation, expires_at))

    def digest_of_refresh_token(self, account: Account) -> str:
        """Stands for the refresh token that works now; blank if none does."""
        grant = account.grants[-1] if account.grants else None
        if grant is None or grant.revoked or self.refresh_token_expired(grant):
            return ""
        return digest_of(self.refresh_token(grant))

    def find_refresh_token(self, token: str) -> tuple[Grant, int] | None:
        """The grant and the generation of a refresh token, dead or alive; None for garbage."""
        facts = self._refresh_tokens.read(token)
        return facts and (self._grants[facts.grant_number], facts.generation)

    def find_access_token(self, token: str) -> tuple[Grant, bool] | None:
        """The grant of an access token and whether it still works; None for garbage."""
        facts = self._access_tokens.read(token)
        if facts is None:
            return None
        grant = self._grants[facts.grant_number]
        alive = (
            facts.generation >= grant.oldest_live_access_generation
            and time.monotonic() < facts.expires_at
        )
        return grant, alive

    def revoke(self, account: Account, *, access_tokens: bool) -> None:
        """The person removed the app: refresh tokens are dead at once.

        What becomes of the access tokens is undocumented, so both can be had: they live on
        until they expire, or die as well.
        """
        account.approved_scopes = None
        for grant in account.grants:
            grant.revoked = True
            if access_tokens:
                grant.kill_access_tokens()

    def expire_refresh_tokens(self, account: Account) -> None:
        """Six months pass for this account."""
        for grant in account.grants:
            grant.authorized_at -= self.settings.refresh_token_lifetime

    def expire_access_tokens(self, account: Account) -> None:
        """The lifetime of every access token given out to this account passes."""
        for grant in account.grants:
            grant.kill_access_tokens()

    def refresh_token_expired(self, grant: Grant) -> bool:
        return time.monotonic() >= grant.authorized_at + self.settings.refresh_token_lifetime

    def _forget_old_codes(self, now: float) -> None:
        """Expired codes are remembered for one more lifetime, to be called expired."""
        for code, issued in list(self._codes.items()):
            if now < issued.expires_at + self.settings.code_lifetime:
                return  # codes are in the order they were made
            del self._codes[code]


def digest_of(token: str) -> str:
    """What stands for a token in the counts: enough to compare, and no secret."""
    return sha256(token.encode()).hexdigest()[:20]


def account_id_of(persona_id: str) -> str:
    """The public, immutable account id: the same for a persona in every run."""
    digest = sha256(f"account/{persona_id}".encode()).digest()
    return urlsafe_b64encode(digest[:21]).decode().replace("-", "x").replace("_", "y")
