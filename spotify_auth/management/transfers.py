"""How `manage.py tokens import` and `export` end: in the same words, with the same codes."""

import json
from typing import Any, Protocol

from django.core.management.base import CommandError, OutputWrapper
from django.core.serializers.json import DjangoJSONEncoder

from spotify_auth.management.acting import PARTLY


class Report(Protocol):
    """What came of an import, or of an export."""

    ended: str
    applied: bool

    def lines(self) -> list[str]: ...
    def as_json(self) -> dict[str, Any]: ...


def conclude(
    out: OutputWrapper, report: Report, *, as_json: bool, moved: str, stopped: str, incomplete: str
) -> None:
    """Show the report. Raises CommandError if it is not done, or not all of it.

    `moved` is what happens to the tokens: "moved", say. `stopped` is what to say of those to which
    it has happened, and `incomplete` of those to which it could not; blank if there are none.
    """
    if as_json:
        out.write(json.dumps(report.as_json(), cls=DjangoJSONEncoder, indent=2))
    else:
        for line in report.lines():
            out.write(line)
    if report.ended == "stopped":
        raise CommandError(f"Stopped. {stopped}: run the same command again.", returncode=PARTLY)
    if report.ended != "done":
        raise CommandError(report.ended, returncode=1)
    if incomplete:
        raise CommandError(incomplete, returncode=PARTLY)
    if not as_json:
        out.write(
            "Done."
            if report.applied
            else f"Nothing was changed: this was a rehearsal. With --apply they are {moved}."
        )
