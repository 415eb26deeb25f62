"""Attempts under way, marked in Redis: hints that outlive a lost connection.

A rotated refresh token exists once. Between Spotify's answer and our commit it is in this
process only, so:

*   Before the request, the attempt is marked under its token and generation. A mark
    without a result tells the next worker that Spotify may have rotated the token: a
    refusal then means "the answer was lost" and not "the user revoked".
*   If PostgreSQL does not take the grant, it is saved in Redis (`saved_grants`). The next
    worker that claims this generation stores it instead of asking Spotify again.
*   A recent mark without a result means another worker may still save its grant, so the
    row is postponed briefly.

The question that leaves the mark also asks for permission: whether all refreshing pauses
(`cooldown`), whether fewer than REFRESH_LANES lanes are asking, and whether the `pace` has a
permit. It is one script, and it cleans up after the lane's last attempt.

Redis holds no truth. While it is away, refreshing goes on without the hints.
"""

import logging
import os
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self
from uuid import uuid4

import redis

from spotify_auth import cooldown, pace, redis_client
from spotify_auth.accounts_service.answers import Answer, AnswerLost, Granted, Unreadable
from spotify_auth.conf import settings
from spotify_auth.cooldown import Admission
from spotify_auth.figures.traffic import IN_FLIGHT
from spotify_auth.models import UserId
from spotify_auth.refresh import saved_grants
from spotify_auth.refresh.claims import Claim
from spotify_auth.refresh.decisions import (
    Decision,
    SavedGrant,
    SavedGrantUnreadable,
    StoreGrant,
    Unresolved,
)
from spotify_auth.refresh.permits import Permit
from spotify_auth.refresh.process import process
from spotify_auth.schedule import longest_exchange

logger = logging.getLogger(__name__)

_MARK = "spotify_auth:attempt:"
_BEGUN, _UNANSWERED = "begun", "unanswered"

# What a stored generation leaves: no mark, and its grant for a minute.
LEAVE = """
for i = {first_key}, #KEYS, 2 do
    redis.call('UNLINK', KEYS[i])
    local sealed = ARGV[{first_argument} + (i - {first_key}) / 2]
    redis.call('SET', KEYS[i + 1], sealed, 'PX', ARGV[{first_argument} - 1])
end
"""
# Returns the admission, the saved grant, the state of an earlier attempt and whether that is
# unresolved, and what the pace says; marks this attempt if it is not. Who is turned away is told
# for how long, and the interval of the pace: Redis may be lost before it asks again. All ages are
# by Redis's clock. Any further keys are those of this lane's earlier attempts. The script may run
# twice.
START = f"""
{cooldown.ADMIT}
{pace.PERMIT}
{LEAVE.format(first_key=9, first_argument=11)}

{redis_client.NOW}
local function turned_away(admission, milliseconds)
    local interval = redis.call('HGET', KEYS[7], 'interval') or '0'
    return {{admission, '', '', 0, milliseconds .. ' ' .. interval}}
end
redis.call('ZREMRANGEBYSCORE', KEYS[6], '-inf', now)
if not redis.call('ZSCORE', KEYS[6], ARGV[4])
        and redis.call('ZCARD', KEYS[6]) >= tonumber(ARGV[5]) then
    return turned_away('full', 0)
end
redis.call('ZADD', KEYS[6], now + ARGV[6], ARGV[4])

local admission = admit(KEYS[3], KEYS[4], KEYS[5], ARGV[4], ARGV[6])
if admission == 'paused' then return turned_away(admission, short_pause(KEYS[3])) end
local go, paced = permit(
    KEYS[7], KEYS[8], KEYS[6], now, tonumber(ARGV[7]), ARGV[8] == '1', admission == 'probe',
    tonumber(ARGV[9])
)
if not go then return {{'wait', '', '', 0, paced}} end

local saved = redis.call('GET', KEYS[2])
local earlier = redis.call('GET', KEYS[1])
if earlier == ARGV[1] then earlier = false end
local age = 0
if earlier then age = ARGV[2] - redis.call('PTTL', KEYS[1]) end
local unresolved = earlier and string.sub(earlier, 1, 5) == 'begun' and age < tonumber(ARGV[3])
if not unresolved then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return {{admission, saved or '', earlier or '', unresolved and 1 or 0, paced}}
"""
# If this lane lost its lock, the mark may be another attempt's by now.
_SETTLE = """
local mark = redis.call('GET', KEYS[1])
if mark and mark ~= ARGV[1] then return end
if ARGV[2] == '' then redis.call('DEL', KEYS[1])
else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
"""
_FLUSH = f"""
{pace.GIVE_BACK}
{LEAVE.format(first_key=3, first_argument=4)}
redis.call('ZREM', KEYS[1], ARGV[1])
if ARGV[2] == '1' then give_back(KEYS[2]) end
"""


class Attempt:
    """One attempt to refresh a claimed token: a context in which no grant is lost.

    Inside, call `received` with Spotify's answer and `settle` once the decision is
    committed. Leaving without `settle`, because of an error, saves a grant that was
    received.
    """

    def __init__(self, lane: "Attempts", claim: Claim) -> None:
        self.admission = Admission.GO
        self.known_answer: SavedGrant | SavedGrantUnreadable | Unresolved | None = None
        """The answer that an earlier attempt received, or may still save."""
        self.lost_before = False
        """An earlier attempt never got its answer."""
        self.lost_just_now = False
        """This attempt did not get an answer: Spotify may have rotated."""
        self.closed_pause = False
        """This attempt was a probe, and has ended a cool-down."""
        self._lane, self._claim = lane, claim
        self._mark = f"{_BEGUN} {uuid4()}:{os.getpid()}"
        self._grant: SavedGrant | None = None
        self._settled = False
        self._is_unresolved = False
        self._began = time.monotonic()

    @property
    def admitted(self) -> bool:
        """Whether this lane may go on."""
        return self.admission in {Admission.GO, Admission.PROBE}

    @property
    def is_probe(self) -> bool:
        """Whether this lane goes first, to find out whether a cool-down is over."""
        return self.admission is Admission.PROBE

    def __enter__(self) -> Self:
        claim, lane = self._claim, self._lane
        exchange = longest_exchange(settings.TOKEN_ENDPOINT_DEADLINE_SECONDS)
        try:
            admission, sealed, earlier, unresolved, paced = redis_client.run(
                START,
                keys=[*keys_of(claim), *cooldown.KEYS, IN_FLIGHT, *pace.KEYS, *lane.stored],
                args=[
                    self._mark,
                    saved_grants.KEPT_MILLISECONDS,
                    int((exchange + saved_grants.RESCUE_SECONDS) * 1000),
                    lane.name,
                    settings.REFRESH_LANES,
                    int(exchange * 1000),
                    lane.permit.kept,
                    int(lane.permit.may_wait),
                    process.own_pace.remembered_interval(),
                    saved_grants.STORED_MILLISECONDS,
                    *lane.stored_grants,
                ],
            )
        except redis.RedisError as error:
            logger.warning("attempt_not_marked reason=%s", type(error).__name__)
            if not lane.permit.taken_alone():
                self.admission = Admission.WAIT
            return self
        finally:
            lane.forget_stored()
        self.admission = Admission(admission.decode())
        if self.admission in {Admission.PAUSED, Admission.FULL}:
            lane.permit.refused(paced)
        else:
            lane.permit.told(paced, goes=self.admitted)
        state = earlier.decode()
        self.lost_before = state == _UNANSWERED or (state.startswith(_BEGUN) and not unresolved)
        # A saved grant is the answer that an unresolved attempt may still save.
        if sealed:
            self.known_answer = saved_grants.unseal(claim, sealed)
        elif unresolved:
            self.known_answer = Unresolved()
        self._is_unresolved = bool(unresolved)
        return self

    def refused(self, *, retry_after: float) -> float:
        """Spotify answered 429: learn from it; for how many seconds everybody pauses."""
        began = time.monotonic() - self._began
        try:
            return pace.refused(began=began, retry_after=retry_after)
        except redis.RedisError as error:
            logger.warning("pace_not_shared reason=%s", type(error).__name__)
            process.own_pace.refused(began=began, retry_after=retry_after)
            return retry_after

    def received(self, answer: Answer) -> None:
        """Take charge of Spotify's answer: from here to the commit a grant exists here only."""
        if isinstance(answer, Granted):
            self._grant = SavedGrant(grant=answer.grant, issued_at=self._claim.claimed_at)
        self.lost_just_now |= isinstance(answer, AnswerLost | Unreadable)

    def settle(self, decision: Decision, *, stored: bool) -> None:
        """The decision is committed, or was rejected because the row has moved on."""
        self._settled = True
        if stored and isinstance(decision.write, StoreGrant):
            self._lane.leave(self._claim, decision.write)
        else:
            self._end(lost=decision.remember_lost)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.admitted and not self._settled:
            if self._grant:
                saved_grants.save_or_hold(self._claim, self._grant)
            elif not isinstance(self.known_answer, SavedGrant | SavedGrantUnreadable):
                self._end(lost=self.lost_before or self.lost_just_now)
        if self.is_probe:
            if self._grant:  # Spotify is well, stored or not; a saved grant proves nothing
                self.closed_pause = cooldown.close()
            else:
                cooldown.release_probe(self._lane.name)

    def _end(self, *, lost: bool) -> None:
        """Forget this attempt's mark, or leave in its place that an answer was lost."""
        if self._is_unresolved:
            return  # the mark is another attempt's
        mark, _ = keys_of(self._claim)
        state = _UNANSWERED if lost else ""
        try:
            redis_client.run(
                _SETTLE, keys=[mark], args=[self._mark, state, saved_grants.KEPT_MILLISECONDS]
            )
        except redis.RedisError as error:
            logger.warning("attempt_not_ended reason=%s", type(error).__name__)


class Attempts:
    """The attempts of one lane, and its place among the lanes that are asking."""

    def __init__(self, *, may_wait: bool = False) -> None:
        self.name = f"{uuid4()}:{os.getpid()}"
        self.permit = Permit(may_wait=may_wait)
        self.stored: list[str] = []
        """Keys of generations that this lane has replaced: the next attempt cleans them up."""
        self.stored_grants: list[bytes] = []
        """What replaced each, sealed."""

    def track(self, claim: Claim) -> Attempt:
        """Mark an attempt, and learn of earlier ones. The caller holds the row lock."""
        return Attempt(self, claim)

    def leave(self, claim: Claim, write: StoreGrant) -> None:
        """Remember what is to be cleaned up after a stored grant."""
        self.stored += keys_of(claim)
        saved = SavedGrant(grant=write.grant, issued_at=write.issued_at)
        self.stored_grants.append(saved_grants.seal(claim, saved))

    def forget_stored(self) -> None:
        """It is cleaned up, or cannot be."""
        self.stored.clear()
        self.stored_grants.clear()

    def flush(self) -> None:
        """Clean up what the attempts left, and give the lane's place away: the lane ends."""
        arguments: tuple[str | float | bytes, ...] = (
            self.name,
            int(self.permit.kept > 0),
            saved_grants.STORED_MILLISECONDS,
            *self.stored_grants,
        )
        try:
            redis_client.run(_FLUSH, keys=[IN_FLIGHT, pace.KEYS[0], *self.stored], args=arguments)
        except redis.RedisError as error:
            logger.warning("attempt_flush_failed reason=%s", type(error).__name__)
        finally:
            self.forget_stored()


def keys_of(claim: Claim) -> tuple[str, str]:
    """The names of an attempt's mark and of its saved grant."""
    return names_of(claim.user_id, claim.generation)


def names_of(user_id: UserId, generation: int) -> tuple[str, str]:
    """The same, by what a claim has of them."""
    return f"{_MARK}{user_id}:{generation}", saved_grants.name_of(user_id, generation)


def marked() -> Iterator[tuple[str, int]]:
    """The user and the generation of every mark. Raises redis.RedisError."""
    for key in redis_client.client().scan_iter(match=f"{_MARK}*", count=1000):
        user_id, generation = key.decode().removeprefix(_MARK).rsplit(":", 1)
        yield user_id, int(generation)


def forget_marks() -> None:
    """Delete every mark: generations start again from a backup, and would meet old marks.

    Raises redis.RedisError.
    """
    for user_id, generation in marked():
        redis_client.client().delete(f"{_MARK}{user_id}:{generation}")
