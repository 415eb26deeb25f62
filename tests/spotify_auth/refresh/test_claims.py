"""Where claims begin in the due index."""

from datetime import timedelta
from typing import cast

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now

from accounts.models import User
from spotify_auth import cooldown
from spotify_auth.cooldown import Reason
from spotify_auth.models import SpotifyToken
from spotify_auth.refresh import claims
from spotify_auth.refresh import process as process_module
from spotify_auth.refresh.process import process
from spotify_auth.refresh.transaction import ClaimTransaction
from tests.support.answers import after_the_claim
from tests.support.lanes import refresh_next
from tests.support.tokens import Connect, Elsewhere
from tests.support.worlds import in_rotating

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def long_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim begins where an earlier one did, for the length of the test."""
    monkeypatch.setattr(process_module, "FULL_SCAN_SECONDS", 3600)


def test_takes_the_most_urgent_token(connect: Connect) -> None:
    later, sooner = connect("user-1"), connect("user-2")
    due(later, ago=10)
    due(sooner, ago=20)

    assert take() == sooner.pk
    assert take() == later.pk
    assert take() is None


def test_begins_where_an_earlier_claim_began(connect: Connect, long_memory: None) -> None:
    first, left, right = connect("user-1"), connect("user-2"), connect("user-3")
    due(left, ago=-60)
    due(first, ago=10)
    due(right, ago=5)
    assert take() == first.pk
    due(left, ago=20)

    assert take() == right.pk


def test_what_came_to_stand_left_of_there_is_found_at_the_latest_when_nothing_else_is_due(
    connect: Connect, long_memory: None
) -> None:
    first, left = connect("user-1"), connect("user-2")
    due(left, ago=-60)
    due(first, ago=10)
    assert take() == first.pk
    due(left, ago=20)

    assert take() == left.pk


def test_scans_from_the_start_when_the_time_is_up(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "FULL_SCAN_SECONDS", 0)
    first, left, right = connect("user-1"), connect("user-2"), connect("user-3")
    due(left, ago=-60)
    due(first, ago=10)
    due(right, ago=5)
    assert take() == first.pk
    due(left, ago=20)

    assert take() == left.pk


def test_a_token_that_was_given_back_is_found_by_the_next_claim(
    connect: Connect, elsewhere: Elsewhere, long_memory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lane that may not ask Spotify gives back what it has claimed."""
    urgent, other = connect("user-1"), connect("user-2")
    due(urgent, ago=20)
    due(other, ago=10)

    def another_lane_claims_the_next() -> None:
        assert elsewhere(take).result() == other.pk
        cooldown.start(Reason.RATE_LIMITED, seconds=60)

    after_the_claim(monkeypatch, another_lane_claims_the_next)
    assert refresh_next() is None
    due(other, ago=10)

    assert take() == urgent.pk


@in_rotating  # a plan of PostgreSQL's, the same in both worlds
def test_looks_at_few_pages_while_an_exchange_hangs(
    connect: Connect, elsewhere: Elsewhere, long_memory: None
) -> None:
    """A claim from the start of the index looks at each token that was refreshed since."""
    users = [connect(f"user-{n}") for n in range(60)]
    for n, user in enumerate(users):
        # Neighbours in the index lie on different pages, as they do among a million.
        due(user, ago=100 - n * 17 % len(users))
    with ClaimTransaction() as hanging:
        assert claims.most_urgent(hanging)
        for _ in users[:-2]:
            elsewhere(take).result()

        from_the_start, from_the_cursor = (
            cast(int, elsewhere(pages, sql).result())
            for sql in (claims.FROM_START, claims.FROM_CURSOR)
        )

    assert from_the_start > len(users) / 2
    assert from_the_cursor < len(users) / 4


def test_knows_how_long_a_token_has_waited(connect: Connect) -> None:
    due(connect("user-1"), ago=600)

    with transaction.atomic(), ClaimTransaction() as claiming:
        claim = claims.most_urgent(claiming)
        assert claim is not None
        assert 600 <= claim.waited < 660


def due(user: User, *, ago: float) -> None:
    """Let a token be due since so many seconds."""
    SpotifyToken.objects.filter(pk=user.pk).update(due_at=Now() - timedelta(seconds=ago))


def take() -> int | None:
    """Claim a token as a lane would, and let it be due in an hour; whose it was."""
    with transaction.atomic(), ClaimTransaction() as claiming:
        claim = claims.most_urgent(claiming)
        if claim is None:
            return None
        SpotifyToken.objects.filter(pk=claim.user_id).update(due_at=Now() + timedelta(hours=1))
    return claim.user_id


def pages(claim: str) -> int:
    """Pages that the statement of a claim touches."""
    with transaction.atomic(), connection.cursor() as cursor:
        # A table this small would be read from one end to the other.
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        cursor.execute(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {claim}",
            {"due_from": process.due.position()},
        )
        plan = cursor.fetchone()[0][0]["Plan"]
        transaction.set_rollback(True)
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
