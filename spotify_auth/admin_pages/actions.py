"""What an administrator can do to tokens: the words around each verb, and whom it is offered to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from spotify_auth import verbs
from spotify_auth.failure_codes import FailureCode
from spotify_auth.models import SpotifyToken
from spotify_auth.verbs import Result

Status = SpotifyToken.Status

_AT_SPOTIFY = (
    "Spotify has no revocation endpoint: its own record of the access stays until each user "
    "removes the app at https://www.spotify.com/account/apps/."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Action:
    """One verb, as the admin offers it."""

    name: str
    label: str
    title: str
    """The question that the page in front of it asks."""
    button: str
    permission: str
    does: str
    does_not: str
    verb: Callable[..., Result]
    works_on: Callable[[SpotifyToken], bool]
    tone: str = ""

    def is_allowed(self, user: Any) -> bool:
        """Whether this user may do it."""
        allowed: bool = user.has_perm(f"spotify_auth.{self.permission}_spotifytoken")
        return allowed


def _is_active(token: SpotifyToken) -> bool:
    return token.status == Status.ACTIVE


def _is_refused(token: SpotifyToken) -> bool:
    return _is_active(token) and token.suspected_at is not None


def _can_be_forgiven(token: SpotifyToken) -> bool:
    if token.status == Status.RECONNECT_REQUIRED:
        return token.last_error != FailureCode.BACKUP_RESTORED
    return _is_active(token) and (token.failures > 0 or token.suspected_at is not None)


def _can_be_asked_again(token: SpotifyToken) -> bool:
    """Whether a worker would present it to Spotify, now or later."""
    appealed = token.status == Status.RECONNECT_REQUIRED and token.appeal_at is not None
    return token.status in {Status.ACTIVE, Status.PAUSED} or appealed


ACTIONS: Mapping[str, Action] = {
    action.name: action
    for action in (
        Action(
            name="refresh_now",
            label="Refresh now (in the background)",
            title="Refresh these tokens?",
            button="Refresh",
            permission="refresh",
            does="A worker refreshes them as soon as it can, before all that are due.",
            does_not="It does not end a pause or a cool-down, and asks for no token that Spotify "
            "has refused: that is what Forgive does.",
            verb=verbs.refresh,
            works_on=lambda token: _is_active(token) and token.suspected_at is None,
        ),
        Action(
            name="pause",
            label="Pause refreshing",
            title="Pause the refreshing of these tokens?",
            button="Pause",
            permission="pause",
            does="No worker presents them to Spotify until they are resumed, or their users log in "
            "again. Pages show music until the access token expires, within the hour.",
            does_not="Nothing is erased, and nobody is logged out.",
            verb=verbs.pause,
            works_on=_is_active,
        ),
        Action(
            name="resume",
            label="Resume refreshing",
            title="Resume the refreshing of these tokens?",
            button="Resume",
            permission="pause",
            does="They are due at once. What failed before the pause is forgiven.",
            does_not="It does not end a pause of the whole service.",
            verb=verbs.resume,
            works_on=lambda token: token.status == Status.PAUSED,
        ),
        Action(
            name="forgive",
            label="Forgive a refusal (ask Spotify once more)",
            title="Forgive what these tokens were refused or failed for?",
            button="Forgive",
            permission="judge",
            does="Failures and suspicions are forgotten, and Spotify is asked at once. A token "
            "that needs a reconnect is appealed for at once.",
            does_not="A token that is dead stays dead: Spotify refuses it again.",
            verb=verbs.forgive,
            works_on=_can_be_forgiven,
        ),
        Action(
            name="believe",
            label="Believe a refusal (reconnect required)",
            title="Believe that these tokens are dead?",
            button="Believe",
            permission="judge",
            does="The users' pages ask for a reconnect at once, instead of after a while.",
            does_not="Nothing is erased, and it may be appealed: the service asks Spotify again "
            "after 1, 6 and 24 hours.",
            verb=verbs.believe,
            works_on=_is_refused,
        ),
        Action(
            name="require_reconnect",
            label="Require a reconnect",
            title="Require these users to reconnect?",
            button="Require a reconnect",
            permission="judge",
            does="The users' pages show no music before they have approved at Spotify again. No "
            "worker presents the tokens any more.",
            does_not="Nothing is erased. Nothing here undoes it but the user's own reconnect, "
            "or Forgive.",
            verb=verbs.require_reconnect,
            works_on=_can_be_asked_again,
            tone="bad",
        ),
        Action(
            name="revoke",
            label="Revoke (erase our copy)",
            title="Revoke these tokens?",
            button="Revoke",
            permission="revoke",
            does="Our copy of the tokens is erased. The users must connect again before their "
            "pages show music.",
            does_not=_AT_SPOTIFY,
            verb=verbs.revoke,
            works_on=lambda token: token.status not in SpotifyToken.ERASED,
            tone="bad",
        ),
    )
}
