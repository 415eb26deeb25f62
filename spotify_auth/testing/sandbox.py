"""The sandbox Spotify as a real process on a free port, and a client for its control plane.

Its faults: docs/reference/sandbox.md. It stands beside Django, and needs no settings.
"""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from spotify_auth.sandbox.worlds import World

TIMEOUT_SECONDS = 10


class SandboxError(Exception):
    """The sandbox did not start, or refused a control request."""


def decide(url: str, form: Mapping[str, str]) -> str:
    """Send the form of a sandbox's page; where the browser is sent back to."""
    response = requests.post(
        f"{url}/authorize", data=form, allow_redirects=False, timeout=TIMEOUT_SECONDS
    )
    if not response.is_redirect:
        raise SandboxError(f"{response.status_code}: {response.text}")
    return response.headers["Location"]


class Sandbox:
    """A running sandbox; use it as a context manager, or call `stop()`."""

    client_id = "sandbox-client"
    client_secret = "sandbox-secret"  # noqa: S105  (of a stand-in)

    def __init__(
        self,
        *,
        port: int = 0,
        access_token_lifetime: int = 120,
        world: World = World.ROTATING,
        options: Iterable[str] = (),
        certificate: Path | None = None,
        python: Sequence[str] = (sys.executable,),
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """`options` are further command line arguments, e.g. `["--code-lifetime", "1"]`.

        With a certificate it serves https too, on `tls_url`. It is the sandbox of this clone,
        unless another directory `cwd` and a Python say where another one is installed.
        """
        usual = {k: v for k, v in os.environ.items() if not k.startswith(("SANDBOX_", "SPOTIFY_"))}
        self.process = subprocess.Popen(
            [
                *(*python, "-m", "spotify_auth.sandbox"),
                *("--port", str(port)),
                *("--access-token-lifetime", str(access_token_lifetime)),
                *("--world", world),
                *("--client-id", self.client_id),
                *("--client-secret", self.client_secret),
                *(("--certificate", str(certificate)) if certificate else ()),
                *options,
            ],
            stdout=subprocess.PIPE,
            text=True,
            env={**usual, **(env or {})},
            cwd=cwd,
        )
        assert self.process.stdout is not None  # noqa: S101  (for type checkers)
        ready = self.process.stdout.readline()
        if not ready.startswith("ready on "):
            self.process.stdout.close()
            status = self.process.wait(TIMEOUT_SECONDS)
            advice = "" if find_spec("aiohttp") else ": install spotify-token-keeper[sandbox]"
            raise SandboxError(f"exit status {status}: {ready!r}{advice}")
        self.url = ready.removeprefix("ready on ").strip()
        self.tls_url = ""
        if certificate:
            self.tls_url = self.process.stdout.readline().removeprefix("and on ").strip()
        self.session = requests.Session()
        self.session.trust_env = False

    def stop(self) -> int:
        """Ask it to end; its exit status."""
        self.session.close()
        self.process.terminate()
        try:
            return self.process.wait(TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            assert self.process.stdout is not None  # noqa: S101  (the same)
            self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    # The control plane.

    def faults(self, fault: str, **parameters: object) -> dict[str, Any]:
        """Program a fault; `users`, `times` and `share` are parameters too."""
        return self._control("POST", "/__faults", {"fault": fault, **parameters})

    def list_faults(self) -> list[dict[str, Any]]:
        faults: list[dict[str, Any]] = self._control("GET", "/__faults")["faults"]
        return faults

    def clear(self) -> None:
        """No faults any more."""
        self._control("DELETE", "/__faults")

    def stats(self, user: str | None = None) -> dict[str, Any]:
        """Everything, or the counts of one user (persona id or account id)."""
        if user is None:
            return self._control("GET", "/__stats")
        counts: dict[str, Any]
        (counts,) = self._control("GET", f"/__stats?user={user}")["users"].values()
        return counts

    def summary(self) -> dict[str, Any]:
        """Totals and what is under way at this moment, without the users' own counts."""
        return self._control("GET", "/__stats?user=")

    def connect(self, users: Iterable[str], scope: str | None = None) -> dict[str, dict[str, Any]]:
        """Log the users in without the dance; the token answers by persona id."""
        body: dict[str, object] = {"users": list(users)}
        if scope is not None:
            body["scope"] = scope
        answers: dict[str, dict[str, Any]] = self._control("POST", "/__connect", body)["users"]
        return answers

    def revoke(self, *users: str, access_tokens: bool = False) -> None:
        """These users (all, when none is named) remove the app from their accounts."""
        self._act("revoke", users, access_tokens=access_tokens)

    def expire_refresh_token(self, *users: str) -> None:
        """Six months pass for these users, or for all."""
        self._act("expire_refresh_token", users)

    def expire_access_tokens(self, *users: str) -> None:
        """The access tokens of these users, or of all, expire."""
        self._act("expire_access_tokens", users)

    def release(self) -> int:
        """Let go the answers that are held; how many they were."""
        released: int = self._control("POST", "/__release")["released"]
        return released

    def reset(self, world: World | None = None) -> None:
        """Back to the state after the start, perhaps in another world; every token is garbage."""
        self._control("POST", "/__reset", {"world": world} if world else None)

    # What applications use.

    def authorize(self, params: Mapping[str, str], persona: str) -> str:
        """Agree as this persona; where the browser is sent back to, with the code."""
        return decide(self.url, {**params, "persona": persona})

    def refuse(self, params: Mapping[str, str]) -> str:
        """Refuse; where the browser is sent back to, with the error."""
        return decide(self.url, {**params, "decision": "refuse"})

    def token(self, **form: str) -> requests.Response:
        """One request to the token endpoint, with the right client secret."""
        return self.session.post(
            f"{self.url}/api/token",
            data=form,
            auth=(self.client_id, self.client_secret),
            timeout=TIMEOUT_SECONDS,
        )

    def refresh(self, refresh_token: str) -> requests.Response:
        return self.token(grant_type="refresh_token", refresh_token=refresh_token)

    def get(self, path: str, access_token: str, **params: str) -> requests.Response:
        """One Web API request; `path` begins with /v1."""
        return self.session.get(
            self.url + path,
            params=params,
            headers={"Authorization": f"Bearer {access_token}"},
            timeout=TIMEOUT_SECONDS,
        )

    def _act(self, action: str, users: tuple[str, ...], **flags: bool) -> None:
        self._control("POST", f"/__{action}", {"users": list(users) or None, **flags})

    def _control(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        response = self.session.request(method, self.url + path, json=body, timeout=TIMEOUT_SECONDS)
        answer: dict[str, Any] = response.json()
        if not response.ok:
            raise SandboxError(answer["error"])
        return answer
