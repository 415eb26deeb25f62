"""What Spotify does wrong: the faults that the sandbox offers, each of bounded length."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.soak.faults import Scene

Parameters = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SandboxFault:
    """Faults to program together, and how long they are in force, in seconds."""

    programs: list[tuple[str, Parameters]]
    seconds: float = 0
    words: str = field(default="")
    undisturbed: bool = False
    """Whether no other fault of Spotify's takes its place before its time is over."""


def _lasting(name: str, shortest: float, longest: float) -> Callable[[Scene], SandboxFault]:
    return lambda scene: SandboxFault([(name, {})], scene.moment(shortest, longest))


def _times(name: str, most: int, **parameters: object) -> Callable[[Scene], SandboxFault]:
    def fault(scene: Scene) -> SandboxFault:
        times = scene.chance.randint(1, most)
        return SandboxFault([(name, {"times": times, **parameters})], scene.moment(8, 8))

    return fault


def _late(name: str) -> Callable[[Scene], SandboxFault]:
    """Late, but always within the deadline: nothing may be lost."""

    def fault(scene: Scene) -> SandboxFault:
        seconds = scene.chance.uniform(0.05, 0.35) * scene.cluster.config.deadline
        return SandboxFault([(name, {"seconds": seconds})], scene.moment(4, 8), f"{seconds:.1f} s")

    return fault


def _refusing(share: float) -> Callable[[Scene], SandboxFault]:
    """An outage that says `invalid_grant`, as a part of Spotify's servers would."""

    def fault(scene: Scene) -> SandboxFault:
        programs: list[tuple[str, Parameters]] = [("false_invalid_grant", {"share": share})]
        return SandboxFault(programs, scene.moment(10, 16), undisturbed=True)

    return fault


def odd_rows(personas: list[str]) -> list[tuple[str, Parameters]]:
    """In force all the while: single users whose every refresh is an error of the client."""
    first, *others = personas
    return [
        ("invalid_client", {"users": [first]}),
        ("garbage", {"users": others, "status": 400, "body": '{"error": "invalid_request"}'}),
    ]


def _held(when: str) -> Callable[[Scene], SandboxFault]:
    return lambda scene: SandboxFault([("hold", {"when": when})], scene.moment(2, 5), when)


def _rate_limited(scene: Scene) -> SandboxFault:
    # Absent: half a minute. The date has passed long ago: a second.
    values = ["1", "3", "0", None, "Wed, 21 Oct 2015 07:28:00 GMT"]
    retry_after = scene.chance.choice(values) if scene.cluster.config.pace == 1 else "1"
    parameters = {"times": 3, "retry_after": retry_after}
    return SandboxFault([("rate_limited", parameters)], scene.moment(5, 5), str(retry_after))


def _garbage(scene: Scene) -> SandboxFault:
    body = scene.chance.choice(["<html>Oops</html>", "", "[]", '{"access_token": 7}', "null"])
    return SandboxFault([("garbage", {"body": body})], scene.moment(2, 6), body)


def _drip_rotated(scene: Scene) -> SandboxFault:
    # About 600 bytes at half a second each: never whole within a deadline.
    return SandboxFault([("slow_drip", {"rotate": True, "times": 1})], scene.moment(12, 12))


def _with_grace(scene: Scene) -> SandboxFault:
    """A server that still takes the old token for a while: a lost answer costs nothing."""
    programs: list[tuple[str, Parameters]] = [
        ("grace_window", {"seconds": 300}),
        ("answer_lost", {"times": 2}),
    ]
    return SandboxFault(programs, scene.moment(8, 12))


def _the_other_world(scene: Scene) -> SandboxFault:
    """Spotify begins to rotate refresh tokens, or ends it, for a while."""
    habit = "no_rotation" if scene.cluster.config.world.rotates else "rotation"
    return SandboxFault([(habit, {})], scene.moment(5, 10), habit)


def _web_api_error(scene: Scene) -> SandboxFault:
    status = scene.chance.choice([401, 429, 500, 503])
    return SandboxFault(
        [("web_api_error", {"status": status})], scene.moment(2, 5), f"status {status}"
    )


def _access_tokens_expire(scene: Scene) -> SandboxFault:
    everybody = list(scene.cluster.personas.values())
    chosen = scene.chance.sample(everybody, min(5, len(everybody)))
    return SandboxFault([("expire_access_tokens", {"users": chosen})])


SANDBOX_KINDS: Mapping[str, Callable[[Scene], SandboxFault]] = {
    "latency": _late("latency"),
    "latency after rotating": _late("latency_after_rotating"),
    "held before": _held("before"),
    "held after": _held("after"),
    "answer lost": _times("answer_lost", 2),
    "connection reset": _times("connection_reset", 8),
    "slow drip": _times("slow_drip", 2, rotate=False),
    "slow drip of a new pair": _drip_rotated,
    "429": _rate_limited,
    "5xx": _lasting("unavailable", 2, 6),
    "garbage": _garbage,
    "invalid_client": _times("invalid_client", 2),
    "invalid_grant to 10 %": _refusing(0.1),
    "invalid_grant to 50 %": _refusing(0.5),
    "invalid_grant to 90 %": _refusing(0.9),
    "invalid_grant to all": _refusing(1),
    "the other world": _the_other_world,
    "reuse revokes the grant": _lasting("reuse_revokes_grant", 5, 10),
    "old access token dies": _lasting("old_access_token_dies", 5, 10),
    "grace window": _with_grace,
    "Web API error": _web_api_error,
    "Web API latency": lambda scene: SandboxFault(
        [("web_api_latency", {"seconds": 1})], scene.moment(2, 5)
    ),
    "access tokens expire early": _access_tokens_expire,
}

REFUSES_FALSELY = frozenset(kind for kind in SANDBOX_KINDS if kind.startswith("invalid_grant"))
MAY_PAUSE: Mapping[str, str] = {"429": "rate_limited", "invalid_client": "client_refused"}
"""The reason for which all may pause after a fault, if that can be longer than a moment."""
