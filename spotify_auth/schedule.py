"""When a token is due and how long to back off: pure functions, no clock of their own.

All times are in seconds. `fraction` arguments are random numbers in [0, 1): callers
pass `random.random()`, tests pass what they like.
"""

import math

REFRESH_WINDOW = (0.70, 0.80)
"""The part of its lifetime after which a token is due: jittered, so that a herd spreads."""
LATE_WINDOW = (0.30, 0.80)
"""The same for a token that replaces an expired one. After an outage there are many of them
at once, and the usual jitter would take a day to spread them again."""

BACK_OFF_BASE_SECONDS = 2.0
BACK_OFF_LIMIT_SECONDS = 300.0
UNDECRYPTABLE_LIMIT_SECONDS = 3600.0
"""The same for a token that no key opens: only the operator can change that. With a lost key a
million such tokens are claimed about as often as a million healthy ones."""

ASK_AGAIN_SHARE = 1 / 12
"""How long a first refusal waits to be asked again, as a share of the token's lifetime."""
ASK_AGAIN_LIMIT_SECONDS = 1800.0
BEHIND_SECONDS = 120.0
"""When a token has waited this long for a lane, the lanes are behind with their work."""
CONFIRMED_SHARE = 1 / 6
"""For how long a token must have been refused, as a share of its lifetime, to be believed dead."""
APPEAL_HOURS = (1.0, 6.0, 24.0)
"""How long after a verdict Spotify is asked again."""

STATEMENT_SECONDS = 5.0
"""How long PostgreSQL may work, or wait for a lock, at one statement of a lane."""

EXCHANGE_SECONDS = 1.0
"""How long an exchange is assumed to take, more than it usually does."""


def refresh_after(lifetime: float, *, fraction: float, late: bool = False) -> float:
    """Seconds from issue to the moment a token is due: 70 % to 80 % of its lifetime.

    `late` says that the token it replaces had expired: then it is 30 % to 80 %.
    """
    earliest, latest = LATE_WINDOW if late else REFRESH_WINDOW
    return lifetime * (earliest + (latest - earliest) * fraction)


def back_off(failures: int, *, fraction: float, limit: float = BACK_OFF_LIMIT_SECONDS) -> float:
    """Seconds to wait after this many failures in a row: exponential, full jitter.

    `fraction * min(limit, 2 * 2 ** (failures - 1))`. Full jitter spreads the retries of
    many clients best (AWS Architecture Blog, "Exponential Backoff And Jitter").
    """
    # The exponent is capped so that a year of failures cannot overflow a float.
    ceiling = BACK_OFF_BASE_SECONDS * 2.0 ** min(failures - 1, 30)
    return fraction * min(limit, ceiling)


def ask_again_after(
    lifetime: float, *, suspected_for: float, waited: float, fraction: float
) -> float:
    """Seconds until a refused token is asked for again.

    Five minutes for Spotify's tokens of an hour, and half of the time for which it has been
    refused when that is longer, up to half an hour. A quarter more or less, so that tokens
    that were refused together do not ask together.

    Half an hour at once if the token has `waited` so long for a lane that the lanes are behind:
    tokens that are refused over and over must not keep those from their turn that are well.
    """
    seconds = max(lifetime * ASK_AGAIN_SHARE, suspected_for / 2)
    if waited > BEHIND_SECONDS:
        seconds = ASK_AGAIN_LIMIT_SECONDS
    return min(ASK_AGAIN_LIMIT_SECONDS, seconds) * (0.75 + 0.5 * fraction)


def appeal_after(appeals: int) -> float | None:
    """Seconds from a refusal for good, or from an appeal, to the next appeal.

    `appeals` were refused already. None: there is no further one.
    """
    if appeals >= len(APPEAL_HOURS):
        return None
    before = APPEAL_HOURS[appeals - 1] if appeals else 0.0
    return (APPEAL_HOURS[appeals] - before) * 3600


def longest_exchange(deadline: float) -> float:
    """Seconds after which an exchange, its one repetition and its write have ended.

    `deadline` bounds one call of the token endpoint. No row lock of a lane outlives this.
    """
    return 2 * deadline + STATEMENT_SECONDS


def refreshes_needed(tokens: int, *, lifetime: float) -> float:
    """How many refreshes a second keep so many tokens fresh, if they are due evenly."""
    return tokens / (lifetime * sum(REFRESH_WINDOW) / 2)


def lanes_needed(due: int, *, sweep: float, limit: int) -> int:
    """How many lanes refresh this many due tokens within half a sweep interval.

    By Little's law, `due * EXCHANGE_SECONDS / (sweep / 2)`: at least one, and never more
    than there are tokens, nor more than `limit`. Half, so that the next sweep finds the work
    of one interval and not of two. Exchanges that take longer leave tokens for the next
    sweep, which opens lanes beside those that still run.
    """
    return min(due, limit, max(1, math.ceil(due * EXCHANGE_SECONDS / (sweep / 2))))


def due_for_all_lanes(limit: int, *, sweep: float) -> int:
    """How many due tokens need `limit` lanes: counting more of them would be wasted."""
    return max(limit, math.ceil(limit * (sweep / 2) / EXCHANGE_SECONDS))


def smallest_margin(lifetime: float) -> float:
    """The least time, in seconds, that is left on a token when it becomes due."""
    return round(lifetime * (1 - REFRESH_WINDOW[1]), 3)


def slack_problems(*, lifetime: float, sweep: float, deadline: float, minimum: float) -> list[str]:
    """What is wrong with settings that leave a refresh too little time, a line each.

    The margin must hold three sweeps (two may be missed) and two exchanges of full
    length (one may be lost), or a reader will meet a stale token in ordinary operation.
    """
    margin = smallest_margin(lifetime)
    needed = round(3 * sweep + 2 * deadline, 3)
    problems = []
    if margin < needed:
        problems.append(
            f"ACCESS_TOKEN_LIFETIME_SECONDS={lifetime:g} leaves a margin of {margin:g} s before "
            f"expiry, but 3 x REFRESH_SWEEP_SECONDS + 2 x TOKEN_ENDPOINT_DEADLINE_SECONDS is "
            f"{needed:g} s: lower those two."
        )
    if round(minimum + sweep + deadline, 3) > margin:
        problems.append(
            f"ACCESS_TOKEN_MINIMUM_SECONDS={minimum:g} asks for more life than a token has left "
            f"when it is refreshed (margin {margin:g} s): set it to "
            f"{max(0.0, margin - sweep - deadline):g} or less."
        )
    return problems
