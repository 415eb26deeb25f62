"""The faults that can be programmed through /__faults: their names, parameters and users."""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .limits import HONEST, KINDS, Limiter, Refusal
from .state import Account

Check = Callable[[object], bool]
Condition = Callable[[Mapping[str, Any]], bool]


class FaultError(ValueError):
    """The request programs no known fault; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a fault: what it may be, and its default."""

    check: Check
    expected: str
    default: object = None
    required: bool = False


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _is_share(value: object) -> bool:
    return _is_number(value) and value <= 1  # type: ignore[operator]


def _is_status(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 200 <= value <= 599


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 1


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_text_or_null(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _seconds(default: float | None = None) -> Parameter:
    return Parameter(_is_number, "a number of seconds", default, required=default is None)


def _share() -> Parameter:
    return Parameter(_is_share, "a number from 0 to 1", 0.0)


def _status(default: int) -> Parameter:
    return Parameter(_is_status, "an HTTP status from 200 to 599", default)


def _text(default: str) -> Parameter:
    return Parameter(_is_text, "a string", default)


def _text_or_null(default: str | None) -> Parameter:
    return Parameter(_is_text_or_null, "a string or null", default)


def _flag(*, default: bool) -> Parameter:
    return Parameter(_is_flag, "true or false", default)


def _is_above_zero(value: object) -> bool:
    return _is_number(value) and value != 0


def _is_kind(value: object) -> bool:
    return isinstance(value, str) and value in KINDS


_LIMIT: Mapping[str, Parameter] = {
    "kind": Parameter(_is_kind, '"fixed", "sliding" or "bucket"', "sliding"),
    "calls": Parameter(_is_count, "a whole number from 1", required=True),
    "seconds": Parameter(_is_above_zero, "a number of seconds above 0", 30.0),
    "retry_after": _text_or_null(HONEST),
}

_UPSTREAM_ERROR = (
    "<html><body>upstream connect error or disconnect/reset before headers. "
    "reset reason: connection termination</body></html>"
)

TOKEN_FAULTS: Mapping[str, Mapping[str, Parameter]] = {
    # The whole application's: the newest one holds.
    "limit": _LIMIT,
    # Late, or never.
    "latency": {"seconds": _seconds(), "jitter": _share()},
    "latency_after_rotating": {"seconds": _seconds(), "jitter": _share()},
    "hold": {
        "when": Parameter(
            lambda value: value in ("before", "after"), '"before" or "after"', "after"
        )
    },
    "answer_lost": {},
    "connection_reset": {},
    "slow_drip": {
        "interval": _seconds(0.5),
        "rotate": _flag(default=False),
        "headers": _flag(default=True),
    },
    # Another answer than the true one; nothing is rotated.
    "rate_limited": {"retry_after": _text_or_null("1")},
    "unavailable": {"status": _status(503), "body": _text(_UPSTREAM_ERROR)},
    "garbage": {
        "status": _status(200),
        "body": _text("<!doctype html><title>Oops</title>"),
        "content_type": _text("application/json"),
    },
    "invalid_client": {
        "status": _status(400),
        "error_description": _text_or_null("Invalid client secret"),
    },
    "false_invalid_grant": {"error_description": _text_or_null("Refresh token revoked")},
    # The other world's habit, and other servers'.
    "rotation": {},
    "no_rotation": {},
    "blank_scope": {},
    "reuse_revokes_grant": {},
    "old_access_token_dies": {},
    "grace_window": {"seconds": _seconds()},
}

WEB_API_FAULTS: Mapping[str, Mapping[str, Parameter]] = {
    "web_api_limit": {**_LIMIT, "path": _text("/v1")},
    "web_api_error": {
        "status": _status(503),
        "message": _text("Service unavailable"),
        "path": _text("/v1"),
        "retry_after": _text_or_null(None),
        "reason": _text_or_null(None),
        "plain": _flag(default=False),
    },
    # The whole application's: no call is answered.
    "owner_without_premium": {"plain": _flag(default=False)},
    "web_api_latency": {"seconds": _seconds(), "path": _text("/v1")},
    # All answers, the token endpoint's too: the clock of Spotify is ahead, or ours is behind.
    "clock_ahead": {"seconds": _seconds()},
    "web_api_together": {
        "calls": Parameter(_is_count, "a whole number from 1", required=True),
        "path": _text("/v1"),
    },
}

FAULTS = {**TOKEN_FAULTS, **WEB_API_FAULTS}
LIMITS = ("limit", "web_api_limit")


@dataclass(slots=True, eq=False)
class Fault:
    """One programmed fault. `times_left` None means until it is cleared.

    `share` is the part of the answers that it strikes. The same ones in each run: a fault has
    a chance of its own, which begins at the same place.
    """

    name: str
    parameters: dict[str, Any]
    users: frozenset[str] | None = None
    times_left: int | None = None
    share: float = 1.0
    limiter: Limiter | None = None
    _chance: random.Random = field(default_factory=lambda: random.Random(0))

    def concerns(self, account: Account | None) -> bool:
        if self.users is None:
            return True
        return account is not None and account.persona_id in self.users

    def strikes(self) -> bool:
        """Whether this answer is among the share."""
        return self.share == 1 or self._chance.random() < self.share

    def delay(self) -> float:
        """Seconds by which this answer is late: `seconds`, more or less its `jitter`."""
        jitter: float = self.parameters["jitter"]
        seconds: float = self.parameters["seconds"]
        return seconds * self._chance.uniform(1 - jitter, 1 + jitter)

    def as_json(self) -> dict[str, Any]:
        return {
            "fault": self.name,
            "users": None if self.users is None else sorted(self.users),
            "times_left": self.times_left,
            "share": self.share,
            **self.parameters,
        }


def always(_parameters: Mapping[str, Any]) -> bool:
    return True


@dataclass(slots=True)
class Gate:
    """Where answers wait until all of them are let go."""

    held: int = 0
    _opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self) -> None:
        """Wait until it opens the next time."""
        self.held += 1
        try:
            await self._opened.wait()
        finally:
            self.held -= 1

    async def wait_for_company(self, calls: int) -> None:
        """Wait until so many are here; the last of them lets all go."""
        if self.held + 1 < calls:
            await self.wait()
        else:
            self.open()

    def open(self) -> int:
        """Let everybody go; how many they were."""
        held = self.held
        self._opened.set()
        self._opened = asyncio.Event()
        return held


@dataclass(slots=True)
class Faults:
    """The faults in force, and the answers that are being held."""

    _faults: dict[str, list[Fault]] = field(default_factory=dict)
    exchanges: Gate = field(default_factory=Gate)
    """Requests to the token endpoint, held by `hold`."""
    calls: Gate = field(default_factory=Gate)
    """Calls of the Web API that wait for each other: no business of the token endpoint's."""

    def program(
        self,
        name: str,
        parameters: Mapping[str, object],
        *,
        users: frozenset[str] | None,
        times: int | None,
        share: float,
    ) -> Fault:
        fault = Fault(name, _checked(name, parameters), users, times, share)
        if name in LIMITS:
            fault.limiter = Limiter(fault.parameters)
            self._faults[name] = []  # the newest one holds, and begins to count anew
        self._faults.setdefault(name, []).append(fault)
        return fault

    def refuse(
        self, name: str, account: Account | None, where: Condition = always
    ) -> Refusal | None:
        """Count a call towards the limit of this name; None if the call is answered."""
        fault = self.take(name, account, where)
        return fault.limiter.refusal() if fault and fault.limiter else None

    def take(self, name: str, account: Account | None, where: Condition = always) -> Fault | None:
        """The fault of this name that concerns the account now; each take uses it up once.

        `where` looks at the parameters, for faults that strike only in some places.
        """
        for fault in self._faults.get(name, ()):
            if fault.concerns(account) and where(fault.parameters) and fault.strikes():
                self._use(fault)
                return fault
        return None

    def clear(self) -> None:
        """No faults any more; what they held back is let go."""
        self._faults.clear()
        self.release()

    def as_json(self) -> list[dict[str, Any]]:
        return [fault.as_json() for faults in self._faults.values() for fault in faults]

    def release(self) -> int:
        """Let every held answer go; how many they were."""
        return self.exchanges.open() + self.calls.open()

    def _use(self, fault: Fault) -> None:
        if fault.times_left is None:
            return
        fault.times_left -= 1
        if fault.times_left == 0:
            self._faults[fault.name].remove(fault)


def _checked(name: str, given: Mapping[str, object]) -> dict[str, Any]:
    if name not in FAULTS:
        raise FaultError(f"unknown fault {name!r}; known: {', '.join(sorted(FAULTS))}")
    known = FAULTS[name]
    for parameter in given:
        if parameter not in known:
            raise FaultError(f"{name} has no parameter {parameter!r}")
    values = {}
    for parameter, spec in known.items():
        if parameter not in given and spec.required:
            raise FaultError(f"{name} needs {parameter!r}: {spec.expected}")
        value = given.get(parameter, spec.default)
        if not spec.check(value):
            raise FaultError(f"{name}: {parameter!r} must be {spec.expected}")
        values[parameter] = value
    return values
