"""`manage.py tokens`: what an operator sees of tokens, and does to them."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from spotify_auth.management.acting import VERBS, ForgetPaceCommand, LiftCooldownCommand
from spotify_auth.management.after_restore import AfterRestoreCommand
from spotify_auth.management.exporting import ExportCommand
from spotify_auth.management.importing import ImportCommand
from spotify_auth.management.pipes import reader_may_leave
from spotify_auth.management.pruning import PruneCommand
from spotify_auth.management.rotate_keys import RotateKeysCommand
from spotify_auth.management.subcommands import Subcommand, readable_failures
from spotify_auth.management.telling import HistoryCommand, StatusCommand

SUBCOMMANDS: tuple[Subcommand, ...] = (
    StatusCommand(),
    HistoryCommand(),
    *VERBS,
    LiftCooldownCommand(),
    ForgetPaceCommand(),
    PruneCommand(),
    RotateKeysCommand(),
    AfterRestoreCommand(),
    ImportCommand(),
    ExportCommand(),
)


class Command(BaseCommand):
    help = "What an operator sees of tokens, and does to them."

    def add_arguments(self, parser: CommandParser) -> None:
        subparsers = parser.add_subparsers(dest="subcommand", required=True, metavar="subcommand")
        for each in SUBCOMMANDS:
            each.add_arguments(
                subparsers.add_parser(each.name, help=each.help, description=each.help)
            )

    def handle(self, *args: Any, **options: Any) -> None:
        (chosen,) = [each for each in SUBCOMMANDS if each.name == options["subcommand"]]
        with reader_may_leave(self.stdout), readable_failures():
            chosen.handle(self.stdout, options)
