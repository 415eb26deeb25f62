"""What an operator does: each verb with its name, its reason and its records.

The admin and `manage.py tokens` both call these functions, and nothing else.

    from spotify_auth import verbs
    from spotify_auth.verbs import Operator

    result = verbs.pause(user_id, operator=Operator.of(request.user), reason="ticket 17")
    if not result.is_done:
        print(result.sentence)  # "It is paused already."

Of one user's token, `verb(user_id, operator=…, reason=…)`, under the row lock:

| verb | works on | and then |
|---|---|---|
| `refresh` | active, neither refused by Spotify nor asked for already | due now |
| `pause` | active, suspected or failing too | paused: nobody presents it to Spotify |
| `resume` | paused | active, due now, without failures and suspicion |
| `revoke` | every token that is not erased | both tokens erased |
| `require_reconnect` | active, paused, a verdict that awaits an appeal | reconnect required |
| `believe` | active and suspected | reconnect required, as the service would say it |
| `forgive` | active and suspected or failing; a verdict | due now; appealed now |

Of the whole service, `verb(operator=…, reason=…)`: `pause_all`, `resume_all`, `lift_cooldown`,
`forget_pace`.

Each returns a `Result`, which says what happened: done, does not apply (and why), or busy. A verb
that is done has written one event of the token's history, and one LogEntry if the operator is an
administrator of the site; both or neither are written. Each raises django.db.Error when
PostgreSQL fails; a row that stays locked for longer than an exchange can take is not an error
but `Kind.BUSY`.

Permissions, which the callers check: `refresh_spotifytoken`, `revoke_spotifytoken`,
`pause_spotifytoken` (pause, resume), `judge_spotifytoken` (require_reconnect, believe, forgive)
and `operate_service` (pause_all, resume_all, lift_cooldown, forget_pace), all of the app
`spotify_auth`.
"""

from spotify_auth.verbs.judging import believe, forgive, require_reconnect
from spotify_auth.verbs.operator import Operator
from spotify_auth.verbs.pausing import pause, resume
from spotify_auth.verbs.refreshing import refresh
from spotify_auth.verbs.result import Kind, Result
from spotify_auth.verbs.revoking import revoke
from spotify_auth.verbs.whole_service import forget_pace, lift_cooldown, pause_all, resume_all

__all__ = [
    "Kind",
    "Operator",
    "Result",
    "believe",
    "forget_pace",
    "forgive",
    "lift_cooldown",
    "pause",
    "pause_all",
    "refresh",
    "require_reconnect",
    "resume",
    "resume_all",
    "revoke",
]
