"""`manage.py tokens pause` and its like: a verb for users, for a filter, or for the service."""

import os
import pwd
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from django.core.management.base import CommandError, CommandParser, OutputWrapper

from spotify_auth import verbs
from spotify_auth.management import people
from spotify_auth.management.people import People
from spotify_auth.management.subcommands import Progress, confirmed, gentle_end
from spotify_auth.verbs import Kind, Operator, Result
from spotify_auth.verbs.operator import reason_of

PARTLY = 3
"""The exit code when some of it is done, or when the same once more may help."""
NAMED = 20
"""How many users with whom nothing was done are named one by one."""


class VerbCommand:
    """One verb. `whole` is its counterpart for the whole service, asked for by --all."""

    def __init__(
        self,
        name: str,
        verb: Callable[..., Result],
        help: str,
        *,
        whole: Callable[..., Result] | None = None,
    ) -> None:
        self.name, self.help = name, help
        self._verb, self._whole = verb, whole

    def add_arguments(self, parser: CommandParser) -> None:
        people.add_arguments(parser)
        if self._whole:
            parser.add_argument(
                "--all", action="store_true", help="all refreshing, instead of single tokens"
            )
        add_order(parser)

    def handle(self, out: OutputWrapper, options: Mapping[str, Any]) -> None:
        operator, reason = order_of(options)
        if self._whole and options["all"]:
            if options["users"] or options["status"] or options["last_error"]:
                raise CommandError("--all takes neither users nor a filter.", returncode=2)
            confirm(options, f"{self.name}: all refreshing, of every user.")
            conclude(out, self._whole(operator=operator, reason=reason))
            return
        chosen = People(options)
        total = chosen.count()
        if total > 1:
            confirm(options, f"{self.name}: {total} users.")
            self._act_on_all(out, chosen, total, operator=operator, reason=reason)
            return
        # Looked up once: a filter may match somebody else by the time that the answer is typed.
        only = next(iter(chosen), None)
        if only is None:
            out.write("No token matches: there is nothing to do.")
            return
        confirm(options, f"{self.name}: {people.name_of(only)}.")
        conclude(out, self._verb(only, operator=operator, reason=reason))

    def _act_on_all(
        self, out: OutputWrapper, chosen: People, total: int, *, operator: Operator, reason: str
    ) -> None:
        came_of_it, not_done = Counter[Result](), []
        progress = Progress(out, self.name, total)
        with gentle_end() as stopping, progress.shown():
            for user_id in chosen:
                if stopping.is_set():
                    break
                result = self._verb(user_id, operator=operator, reason=reason)
                came_of_it[result] += 1
                if not result.is_done:
                    not_done.append((user_id, result))
                progress.advance(1)
        for result, users in came_of_it.most_common():
            out.write(f"  {users:>8}  {result.sentence}")
        for user_id, result in not_done[:NAMED]:
            out.write(f"  {people.name_of(user_id)}: {result.sentence}")
        if len(not_done) > NAMED:
            out.write(f"  and {len(not_done) - NAMED} more")
        _conclude_all(out, came_of_it, stopped=stopping.is_set())


def _conclude_all(out: OutputWrapper, came_of_it: Counter[Result], *, stopped: bool) -> None:
    """Say what was done. Raises CommandError if it was not all."""
    kinds = Counter[Kind]()
    for result, users in came_of_it.items():
        kinds[result.kind] += users
    done, total = kinds[Kind.DONE], kinds.total()
    if stopped:
        raise CommandError(f"Stopped. {done} are done.", returncode=PARTLY)
    if done < total:
        code = PARTLY if done or kinds[Kind.BUSY] else 1
        raise CommandError(f"Done for {done} of {total}.", returncode=code)
    out.write(f"Done for {done} of {total}.")


class ForgetPaceCommand:
    """Forget the learned pace."""

    name = "forget-pace"
    help = (
        "Forget the limits that the service has learned from 429s, of refreshes and of Web API "
        "calls. It learns them again if they are there still."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_order(parser)

    def handle(self, out: OutputWrapper, options: Mapping[str, Any]) -> None:
        operator, reason = order_of(options)
        confirm(options, "All workers ask Spotify as fast as they can, until the next 429.")
        conclude(out, verbs.forget_pace(operator=operator, reason=reason))


class LiftCooldownCommand:
    """End the cool-down."""

    name = "lift-cooldown"
    help = (
        "End the cool-down that the service has ordered by itself. What ordered it orders it again "
        "if it was right."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_order(parser)

    def handle(self, out: OutputWrapper, options: Mapping[str, Any]) -> None:
        operator, reason = order_of(options)
        confirm(options, "Every worker asks Spotify again at once.")
        conclude(out, verbs.lift_cooldown(operator=operator, reason=reason))


def add_order(parser: CommandParser) -> None:
    """Who orders it, and why."""
    parser.add_argument("--reason", required=True, help="why, for the history: a ticket, perhaps")
    parser.add_argument(
        "--by", metavar="NAME", help="who, for the history; by default your name on this system"
    )
    parser.add_argument("--no-input", action="store_true", help="do not ask")


def order_of(options: Mapping[str, Any]) -> tuple[Operator, str]:
    """Who orders it, and why. Raises CommandError where one of them is blank."""
    try:
        operator = Operator.named(options["by"] if options["by"] is not None else _system_name())
    except ValueError:
        raise CommandError("--by is blank: say who you are.", returncode=2) from None
    try:
        return operator, reason_of(options["reason"])
    except ValueError:
        raise CommandError("--reason is blank: the history keeps it.", returncode=2) from None


def _system_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"  # as in a container


def confirm(options: Mapping[str, Any], question: str) -> None:
    """Ask at a terminal. Raises CommandError if the answer is not yes."""
    if not (options["no_input"] or confirmed(question)):
        raise CommandError("Nothing was changed. With --no-input it is done without a question.")


def conclude(out: OutputWrapper, result: Result) -> None:
    """Say what came of it. Raises CommandError if it is not done."""
    if not result.is_done:
        busy = result.kind is Kind.BUSY
        raise CommandError(result.sentence, returncode=PARTLY if busy else 1)
    out.write(result.sentence)


VERBS = (
    VerbCommand("refresh", verbs.refresh, "Let a worker refresh tokens now."),
    VerbCommand(
        "pause",
        verbs.pause,
        "Let nobody present refresh tokens to Spotify until they are resumed.",
        whole=verbs.pause_all,
    ),
    VerbCommand(
        "resume", verbs.resume, "End a pause: the tokens are due now.", whole=verbs.resume_all
    ),
    VerbCommand(
        "revoke",
        verbs.revoke,
        "Erase both tokens here. Spotify has no revocation endpoint: users must also remove the "
        "app at https://www.spotify.com/account/apps/.",
    ),
    VerbCommand(
        "require-reconnect",
        verbs.require_reconnect,
        "Let users approve the app once more: their tokens are not used or presented any more.",
    ),
    VerbCommand("believe", verbs.believe, "Take Spotify's refusal of tokens for final, now."),
    VerbCommand("forgive", verbs.forgive, "Let Spotify be asked again at once about tokens."),
)
