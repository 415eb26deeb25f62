"""`manage.py tokens status` and `history`: what there is, in words or as JSON."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser, OutputWrapper
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Count
from django.db.models.functions import Now

from spotify_auth import service_pause
from spotify_auth.figures import summary
from spotify_auth.figures.summary import Summary
from spotify_auth.figures.traffic import Traffic
from spotify_auth.history.unfolding import unfold
from spotify_auth.management import people
from spotify_auth.models import SpotifyToken, TokenEvent, UserId
from spotify_auth.text import one_line

MOST_EVENTS = 100_000
"""Of one user's history that one command shows: it holds them all at once."""
_OF_A_TOKEN = (
    *("user_id", "account_id", "status", "scope", "generation", "authorized_at"),
    *("authorized_at_known", "reauthorize_by", "refreshed_at", "expires_at", "due_at"),
    *("due_cause", "asked_by", "failures", "suspected_at", "appeal_at", "appeals"),
    *("last_error", "closed_at"),
)
_OF_AN_EVENT = (
    *("at", "outcome", "cause", "asked_by", "reason", "error", "generation_before"),
    *("generation_after", "rotated", "lifetime_granted", "lifetime_used", "duration_ms", "worker"),
)
"""Never a token, nor anything else that is encrypted."""


class StatusCommand:
    """How the service is, or one user's token."""

    name = "status"
    help = "Show how the tokens of all users are, or everything about one user's token."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", nargs="?", metavar="USER", help=people.USER_HELP)
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, out: OutputWrapper, options: Mapping[str, Any]) -> None:
        found = _token_of(people.find(options["user"])) if options["user"] else _service()
        _write(out, found, as_json=options["json"])


class HistoryCommand:
    """What happened to one user's token."""

    name = "history"
    help = "Show what happened to a user's token, newest first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", metavar="USER", help=people.USER_HELP)
        parser.add_argument("--limit", type=int, default=20, help="events to show (20)")
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, out: OutputWrapper, options: Mapping[str, Any]) -> None:
        if not 1 <= options["limit"] <= MOST_EVENTS:
            raise CommandError(
                f"--limit must be 1 or more, and {MOST_EVENTS} at most.", returncode=2
            )
        user_id = people.find(options["user"])
        newest = TokenEvent.objects.filter(user_id=user_id)[: options["limit"]]
        events = [
            {name: getattr(event, name) for name in _OF_AN_EVENT}
            for event in unfold(newest)[: options["limit"]]
        ]
        if options["json"]:
            out.write(json.dumps(events, cls=DjangoJSONEncoder, indent=2))
        elif not events:
            out.write(f"Nothing has happened to the token of {people.name_of(user_id)}.")
        for event in () if options["json"] else events:
            out.write(_in_words(event))


def _service() -> dict[str, Any]:
    """How all tokens are: from indexes, so that a million cost no more than a few."""
    found = summary.look()
    measured = found.freshness
    # All but the active tokens have an index to themselves.
    others = SpotifyToken.objects.exclude(status=SpotifyToken.Status.ACTIVE).values("status")
    counted = others.order_by().annotate(tokens=Count("pk")).values_list("status", "tokens")
    paused = service_pause.current()
    return {
        "tokens": {
            **dict.fromkeys(SpotifyToken.Status.values, 0),
            **dict(counted),
            SpotifyToken.Status.ACTIVE.value: measured.connected,
        },
        "stale": measured.stale,
        "stale_and_refused_by_spotify": measured.refused,
        "overdue": measured.overdue,
        "oldest_overdue_seconds": round(measured.oldest_overdue, 1),
        "expiring_within_15_minutes": measured.expiring,
        "first_expires_in_seconds": _rounded(measured.worst_left),
        "suspected": measured.suspected,
        "backing_off": measured.backing_off,
        "service_paused": paused
        and {"since": paused.since, "by": paused.by, "reason": paused.reason},
        "cooldown": _cooldown(found.traffic),
        "pace": _pace(found),
        "last_sweep_seconds_ago": _rounded(found.sweep_age),
    }


def _cooldown(traffic: Traffic | None) -> dict[str, Any] | None:
    if traffic is None:
        return {"reason": "unknown: Redis does not answer", "seconds_left": None}
    if not traffic.cooldown:
        return None
    return {"reason": traffic.cooldown, "seconds_left": round(traffic.cooldown_left, 1)}


def _pace(found: Summary) -> dict[str, Any] | None:
    """What Spotify allows, beside the need; None while it has shown no limit."""
    if found.traffic is None or found.traffic.pace == float("inf"):
        return None
    return {"allowed_a_second": round(found.traffic.pace, 2), "needed": round(found.need, 2)}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _token_of(user_id: UserId) -> dict[str, Any]:
    rows = SpotifyToken.objects.filter(pk=user_id).annotate(now=Now())
    token: dict[str, Any] | None = rows.values(*_OF_A_TOKEN, "now").first()
    if token is None:
        raise CommandError(f"{people.name_of(user_id)} has never connected Spotify.")
    return token


def _write(out: OutputWrapper, found: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        out.write(json.dumps(found, cls=DjangoJSONEncoder, indent=2))
        return
    flat = {
        f"{name}.{key}" if isinstance(value, dict) else name: each
        for name, value in found.items()
        for key, each in (value.items() if isinstance(value, dict) else [("", value)])
    }
    width = max(map(len, flat))
    for name, value in flat.items():
        out.write(f"{name:<{width}}  {_shown(value)}")


def _shown(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    return "-" if value in {None, ""} else one_line(str(value))


def _in_words(event: Mapping[str, Any]) -> str:
    said = [f"{event['at']:%Y-%m-%d %H:%M:%S}", f"{event['outcome']:<18}", event["cause"]]
    for name, value in event.items():
        if name not in {"at", "outcome", "cause"} and value not in {None, "", False}:
            said.append(f'{name}="{value}"' if " " in str(value) else f"{name}={value}")
    return one_line(" ".join(said))
