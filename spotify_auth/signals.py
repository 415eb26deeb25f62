"""Django signals: what happened to a user's token, and to the service as a whole.

    from spotify_auth.signals import reconnect_required

    @receiver(reconnect_required)
    def tell_the_user(user_id, sentence, **kwargs):
        ...

They are sent after the commit, once for each change of state, in the process that made it: a lane
of a worker, a web process or a command. Django sends a signal at most once: a process that is
killed in between sends none. docs/how-to/be-told-of-changes.md says what else is certain.

A receiver runs in the lane that refreshes tokens, and holds it up: enqueue a task for whatever
takes longer than a moment. An exception of a receiver is logged as `receiver_failed`, without its
message, and hurts nobody else.

Every signal has the sender `SpotifyToken`, or None where it is about the service, and these
arguments; a receiver takes `**kwargs`, since later versions may add some:

*   `notice_id`: a UUID, the primary key of the `Notice` about the same change.
*   `at`: when it happened, by PostgreSQL's clock, in UTC.
*   `reason` and `sentence`: why, as a code for programs and as a sentence for people.

Those about a token also have:

*   `user_id`: the user's primary key.
*   `generation`: the number of the token pair that is stored now.
*   `status`: the token's, one of `SpotifyToken.Status`; "deleted" once it is gone.

No signal carries a token, a code or a secret.
"""

import logging
import traceback
from collections.abc import Callable
from typing import Any

from django.dispatch import Signal

logger = logging.getLogger(__name__)


class NoticeSignal(Signal):
    """A signal whose failed receivers leave no message in the log: it may hold a secret."""

    def _log_robust_failure(self, receiver: Callable[..., Any], err: BaseException) -> None:
        """What `send_robust` does about an exception; Django's own logs its message too."""
        name = getattr(receiver, "__qualname__", type(receiver).__name__)
        frames = "\n" + "".join(traceback.format_tb(err.__traceback__))
        logger.error(
            "receiver_failed receiver=%s reason=%s frames=%s", name, type(err).__name__, frames
        )


token_connected = NoticeSignal()
"""A login stored a pair: the user's first, or one in place of an older. It also ends a suspicion
and a verdict. Further argument: `reauthorize_by`, when the user must approve again at the latest.
"""

token_refreshed = NoticeSignal()
"""A refresh stored a new pair. `at` is when its exchange began, `reason` why it took place (a
`Cause`). There is no `sentence` and no `notice_id`, since a routine refresh writes no notice; and
no `status`, since an operator may have paused the token whose pair is stored late."""

token_suspected = NoticeSignal()
"""Spotify refused a token for the first time since its last grant. It is asked again before
anybody must do anything. Sent once, however often it is refused then."""

reconnect_required = NoticeSignal()
"""Spotify no longer renews a token: the user must approve again. Sent once for each verdict; that
it is appealed, and that an appeal is refused, sends nothing."""

token_recovered = NoticeSignal()
"""A refresh succeeded after a suspicion (`reason` "after_suspicion") or in spite of a verdict
("after_verdict"), or an operator took either back ("forgiven"): the user need not approve again.
After a login it is `token_connected`."""

token_closed = NoticeSignal()
"""Both tokens were erased: the user disconnected, an administrator revoked them, an operator handed
them to another keeper, or the user was deleted. `reason` is "disconnected", "revoked", "exported"
or "user_deleted"."""

reconnect_due = NoticeSignal()
"""The six months are over in less than `days` (30, 7 or 1) days, at `reauthorize_by`. Sent once for
each, by a worker; a service that was down for days sends only the most urgent."""

token_paused = NoticeSignal()
"""An operator paused a token: it is not refreshed until `token_resumed`, or a login."""

token_resumed = NoticeSignal()
"""An operator ended the pause of a token. That ends a suspicion too."""

service_paused = NoticeSignal()
"""No token is refreshed for now, in any worker. `reason` is one of `cooldown.Reason`, or "operator"
for `verbs.pause_all`. The two may overlap: each has an end of its own."""

service_resumed = NoticeSignal()
"""Tokens are refreshed again. `reason` is why they were not."""
