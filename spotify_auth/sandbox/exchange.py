"""What the token endpoint does to the state: codes become grants, refresh tokens rotate.

The texts of the errors are those reported of Spotify; clients must branch on `error`,
since several texts mean the same.
"""

import re
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from .faults import Faults
from .state import Account, AuthorizationCode, Grant, State, digest_of

_VERIFIER = re.compile(r"[A-Za-z0-9_.~-]{43,128}")  # RFC 7636 4.1


class TokenError(Exception):
    """The token endpoint says no: RFC 6749 5.2, a flat object, description optional."""

    def __init__(self, error: str, description: str | None, status: int = 400) -> None:
        super().__init__(error, description)
        self.error = error
        self.description = description
        self.status = status

    def as_json(self) -> dict[str, str]:
        body = {"error": self.error}
        if self.description is not None:
            body["error_description"] = self.description
        return body


@dataclass(frozen=True, slots=True)
class Exchange:
    """A token request that was understood, but not yet carried out."""

    state: State
    faults: Faults
    form: Mapping[str, str]

    @property
    def is_refresh(self) -> bool:
        return self.form.get("grant_type") == "refresh_token"

    def account(self) -> Account | None:
        """Whose exchange it is, as far as the code or refresh token tells."""
        if self.is_refresh:
            found = self.state.find_refresh_token(self.form.get("refresh_token", ""))
            return found[0].account if found else None
        code = self.state.find_code(self.form.get("code", ""))
        return code.account if code else None

    def spoil_answer(self) -> None:
        """Remember that a fault keeps the answer, and the new pair in it, from its reader."""
        if self.is_refresh:
            digest = digest_of(self.form.get("refresh_token", ""))
            self.state.answers_spoiled.append(digest)

    def carry_out(self) -> dict[str, Any]:
        """The successful answer, or TokenError."""
        grant_type = self.form.get("grant_type")
        if grant_type == "refresh_token":
            return self._refresh()
        if grant_type == "authorization_code":
            return self._login()
        if grant_type == "client_credentials":
            return self._for_nobody()
        if not grant_type:
            raise TokenError("unsupported_grant_type", "grant_type parameter is missing")
        raise TokenError(
            "unsupported_grant_type",
            "grant_type must be client_credentials, authorization_code or refresh_token",
        )

    def _for_nobody(self) -> dict[str, Any]:
        """A token of the application's own, without scope and refresh token (RFC 6749 4.4.3).

        No account is behind it, so the Web API here takes it for none.
        """
        return {
            "access_token": secrets.token_urlsafe(96),
            "token_type": "Bearer",
            "expires_in": self.state.settings.access_token_lifetime,
        }

    def _login(self) -> dict[str, Any]:
        presented = self._parameter("code")
        redirect_uri = self._parameter("redirect_uri")
        code = self.state.find_code(presented)
        self.state.spend_code(presented)
        if code is None:
            raise TokenError("invalid_grant", "Invalid authorization code")
        if time.monotonic() >= code.expires_at:
            raise TokenError("invalid_grant", "Authorization code expired")
        if redirect_uri != code.redirect_uri:
            raise TokenError("invalid_grant", "Invalid redirect URI")
        _check_verifier(code, self.form.get("code_verifier"))
        return token_answer(self.state, self.state.new_grant(code.account, code.scope))

    def _refresh(self) -> dict[str, Any]:
        found = self.state.find_refresh_token(self._parameter("refresh_token"))
        if found is None:
            raise TokenError("invalid_grant", "Invalid refresh token")
        grant, generation = found
        if grant.revoked:
            raise TokenError("invalid_grant", "Refresh token revoked")
        if self.state.refresh_token_expired(grant):
            raise TokenError("invalid_grant", "Refresh token expired")
        if generation != grant.refresh_generation:
            self._reuse(grant, generation)
        rotated = self._next_generation(grant)
        answer = token_answer(self.state, grant, with_refresh_token=rotated)
        if self.faults.take("blank_scope", grant.account):
            answer["scope"] = ""
        return answer

    def _reuse(self, grant: Grant, generation: int) -> None:
        """A refresh token that rotation has replaced: dead, unless a grace window is on."""
        grace = self.faults.take("grace_window", grant.account)
        dead_for = grant.seconds_dead(generation, time.monotonic())
        if grace and dead_for < grace.parameters["seconds"]:
            return
        grant.account.counters.reuses_of_dead_token += 1
        self.state.totals.reuses_of_dead_token += 1
        self.state.dead_tokens_shown.append(digest_of(self._parameter("refresh_token")))
        fault = self.faults.take("reuse_revokes_grant", grant.account)
        if fault or self.state.settings.reuse_revokes_grant:
            grant.revoked = True
            grant.kill_access_tokens()
        raise TokenError("invalid_grant", "Refresh token revoked")

    def _next_generation(self, grant: Grant) -> bool:
        """A new access token, and a new refresh token if that is rotated."""
        now = time.monotonic()
        counters = grant.account.counters
        counters.refreshes += 1
        counters.refresh_times.append(round(now - self.state.started_at, 4))
        self.state.totals.refreshes += 1
        grant.generation += 1
        if self.faults.take("old_access_token_dies", grant.account):
            grant.oldest_live_access_generation = grant.generation
        if not self._rotates(grant):
            return False
        grant.rotations.append((grant.refresh_generation, now))
        grant.refresh_generation = grant.generation
        return True

    def _rotates(self, grant: Grant) -> bool:
        """As the world does, unless a fault says otherwise."""
        if self.faults.take("no_rotation", grant.account):
            return False
        if self.faults.take("rotation", grant.account):
            return True
        return self.state.settings.world.rotates

    def _parameter(self, name: str) -> str:
        value = self.form.get(name)
        if not value:
            raise TokenError("invalid_request", f"{name} must be supplied")
        return value


def token_answer(state: State, grant: Grant, *, with_refresh_token: bool = True) -> dict[str, Any]:
    """The body of a successful answer, for the grant as it is now."""
    answer = {
        "access_token": state.access_token(grant),
        "token_type": "Bearer",
        "scope": grant.scope,
        "expires_in": state.settings.access_token_lifetime,
    }
    if with_refresh_token:
        answer["refresh_token"] = state.refresh_token(grant)
    return answer


def _check_verifier(code: AuthorizationCode, verifier: str | None) -> None:
    """PKCE, RFC 7636 4.6. A verifier without a challenge is refused too (RFC 9700 2.1.1)."""
    if code.code_challenge is None:
        if verifier:
            raise TokenError("invalid_grant", "code_verifier was incorrect")
        return
    if not verifier:
        raise TokenError("invalid_request", "code_verifier required")
    if code_challenge(verifier) != code.code_challenge:
        raise TokenError("invalid_grant", "code_verifier was incorrect")


def code_challenge(verifier: str) -> str | None:
    """The S256 challenge of a well-formed verifier."""
    if not _VERIFIER.fullmatch(verifier):
        return None
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
