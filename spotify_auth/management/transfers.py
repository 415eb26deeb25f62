"""How `manage.py tokens import` and `export` end: in the same words, with the same codes."""

from django.core.management.base import CommandError, OutputWrapper

from spotify_auth.management.acting import PARTLY


def conclude(
    out: OutputWrapper,
    *,
    ended: str,
    applied: bool,
    moved: str,
    stopped: str,
    incomplete: str,
    silently: bool,
) -> None:
    """Say that it is done. Raises CommandError if it is not, or not all of it.

    `moved` is what happens to the tokens: "moved", say. `stopped` is what to say of those to which
    it has happened, and `incomplete` of those to which it could not; blank if there are none.
    """
    if ended == "stopped":
        raise CommandError(f"Stopped. {stopped}: run the same command again.", returncode=PARTLY)
    if ended != "done":
        raise CommandError(ended, returncode=1)
    if incomplete:
        raise CommandError(incomplete, returncode=PARTLY)
    if not silently:
        out.write(
            "Done."
            if applied
            else f"Nothing was changed: this was a rehearsal. With --apply they are {moved}."
        )
