"""The service's own statements, unchanged, on a token table that is hash-partitioned by user.

Each test swaps the table for a partitioned one that the SQL of
docs/how-to/partition-tokens.md makes, and drops it at the end.
"""

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.db import connection as database
from django.db.models.functions import Now

from accounts.models import User
from dev.process import ROOT
from spotify_auth import connections, tokens
from spotify_auth.models import Cause, Outcome, SpotifyToken
from spotify_auth.refresh import claims, lanes
from spotify_auth.refresh.refresher import refresh_user
from tests.support.lanes import refresh_next
from tests.support.processes import wait_for
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Connect, account_of, grant_of, token_of
from tests.support.worlds import in_rotating

pytestmark = pytest.mark.django_db(transaction=True)

PLAN = ROOT / "docs/how-to/partition-tokens.md"
PARTITIONS = 4
"""Instead of the plan's sixteen."""
TABLE = "spotify_auth_spotifytoken"


@pytest.fixture(autouse=True)
def _partitioned(transactional_db: None) -> Iterator[None]:
    """Put a hash-partitioned table in the token table's place; the original comes back."""
    *table, partition = sql_of_the_plan()
    with database.cursor() as cursor:
        for statement in table:
            cursor.execute(statement)
        for number in range(PARTITIONS):
            cursor.execute(
                partition.replace("_p0", f"_p{number}")
                .replace("MODULUS 16", f"MODULUS {PARTITIONS}")
                .replace("REMAINDER 0", f"REMAINDER {number}")
            )
        # LIKE leaves out foreign keys only.
        cursor.execute(
            f"ALTER TABLE {TABLE}_new ADD FOREIGN KEY (user_id) REFERENCES accounts_user (id) "
            "DEFERRABLE INITIALLY DEFERRED"
        )
        cursor.execute(f"ALTER TABLE {TABLE} RENAME TO whole")
        cursor.execute(f"ALTER TABLE {TABLE}_new RENAME TO {TABLE}")
    yield
    with database.cursor() as cursor:
        cursor.execute(f"DROP TABLE {TABLE}")
        cursor.execute(f"ALTER TABLE whole RENAME TO {TABLE}")


def sql_of_the_plan() -> list[str]:
    """How the page makes the table and its indexes, and the first of its partitions."""
    found = re.search(r"```sql\n(.*?)```", PLAN.read_text(), re.DOTALL)
    assert found, PLAN
    return [statement for statement in found[1].split(";\n") if statement]


def partition_of(user: User) -> str:
    """The partition that holds a user's row."""
    with database.cursor() as cursor:
        cursor.execute(
            f"SELECT tableoid::regclass::text FROM {TABLE} WHERE user_id = %s",  # noqa: S608
            [user.pk],
        )
        name: str = cursor.fetchone()[0]
    return name


def connect_many(connect: Connect) -> list[User]:
    """Sixteen users or more, some in every partition, the first the most urgent."""
    users: list[User] = []
    while len(users) < 16 or len({partition_of(user) for user in users}) < PARTITIONS:
        users.append(connect(f"user-{len(users)}"))
    for position, user in enumerate(users):
        SpotifyToken.objects.filter(pk=user.pk).update(
            due_at=Now() - timedelta(seconds=1000 - position)
        )
    return users


def in_threads(number: int, work: Any) -> list[Any]:
    """Run a function in as many threads, at once, each on a connection of its own."""
    barrier = threading.Barrier(number)

    def run() -> Any:
        barrier.wait(timeout=60)
        try:
            return work()
        finally:
            database.close()

    with ThreadPoolExecutor(number) as pool:
        return [future.result() for future in [pool.submit(run) for _ in range(number)]]


def test_the_most_urgent_goes_first_whatever_its_partition(
    connect: Connect, spotify: Sandbox
) -> None:
    users = connect_many(connect)

    for user in users:
        assert refresh_next() is Outcome.REFRESHED
        assert token_of(user).generation == 2
    assert refresh_next() is None


def test_lanes_in_several_threads_refresh_each_token_once(
    connect: Connect, spotify: Sandbox
) -> None:
    users = connect_many(connect)

    def lane() -> int:
        taken = 0
        while refresh_next() is not None:
            taken += 1
        return taken

    assert sum(in_threads(8, lane)) == len(users)

    totals = spotify.stats()["totals"]
    assert (totals["refreshes_attempted"], totals["reuses_of_dead_token"]) == (len(users), 0)
    assert all(token_of(user).generation == 2 for user in users)
    assert all(
        user.spotify_auth_events.filter(outcome=Outcome.REFRESHED).count() == 1 for user in users
    )
    assert account_of(spotify, token_of(users[0]).access_token) == users[0].account_id


def test_lanes_that_claim_ahead_refresh_each_token_once(connect: Connect, spotify: Sandbox) -> None:
    users = connect_many(connect)

    assert sum(in_threads(4, lanes.run_lane)) == len(users)

    totals = spotify.stats()["totals"]
    assert (totals["refreshes_attempted"], totals["reuses_of_dead_token"]) == (len(users), 0)
    assert all(token_of(user).generation == 2 for user in users)


def test_a_locked_row_is_skipped_and_not_waited_for(connect: Connect, spotify: Sandbox) -> None:
    urgent, second = connect_many(connect)[:2]
    spotify.faults(fault="hold", times=1)

    def lane() -> Outcome | None:
        try:
            return refresh_next()
        finally:
            database.close()

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lane)
        wait_for(lambda: spotify.stats()["held"] == 1, what="the exchange to be in flight")
        assert refresh_user(urgent.pk) is None
        assert tokens.nudge(urgent.pk, generation=1, cause=Cause.STALE_READ) is False
        assert refresh_next() is Outcome.REFRESHED
        assert token_of(second).generation == 2
        # A reader does not wait either.
        assert tokens.access_token_for(urgent.pk).generation == 1
        spotify.release()
        assert first.result() is Outcome.REFRESHED
    assert token_of(urgent).generation == 2


def test_a_failure_is_written_with_its_event(connect: Connect, spotify: Sandbox) -> None:
    user = connect()
    spotify.faults(fault="unavailable", times=1)

    assert refresh_next() is Outcome.RETRY

    assert (token_of(user).failures, token_of(user).generation) == (1, 1)
    assert user.spotify_auth_events.filter(outcome=Outcome.RETRY).count() == 1


def test_log_in_again_takes_the_place_of_the_row(connect: Connect, spotify: Sandbox) -> None:
    user = connect()
    answer = spotify.connect(["user-1"])["user-1"]

    connections.connect(
        user_id=user.pk, grant=grant_of(answer), issued_at=connections.database_now()
    )

    token = SpotifyToken.objects.get(user=user)
    assert (token.generation, token.access_token) == (2, answer["access_token"])


def test_two_first_log_ins_at_once_make_one_row(spotify: Sandbox) -> None:
    answer = spotify.connect(["user-1"])["user-1"]
    user = User.objects.create(account_id=answer["account_id"])

    in_threads(
        4,
        lambda: connections.connect(
            user_id=user.pk, grant=grant_of(answer), issued_at=connections.database_now()
        ),
    )

    assert SpotifyToken.objects.filter(user=user).count() == 1


def test_a_nudge_makes_the_token_due_once(connect: Connect) -> None:
    user = connect(due=False)

    nudges = [tokens.nudge(user.pk, generation=1, cause=Cause.STALE_READ) for _ in range(3)]

    assert nudges == [True, False, False]
    assert refresh_user(user.pk) is Outcome.REFRESHED


def test_disconnecting_erases_the_pair(connect: Connect) -> None:
    user = connect()

    assert connections.disconnect(user_id=user.pk)

    with pytest.raises(tokens.NotConnected):
        tokens.access_token_for(user.pk)


def test_the_constraints_hold_in_every_partition(connect: Connect) -> None:
    for user in connect_many(connect):
        with pytest.raises(IntegrityError), transaction.atomic():
            SpotifyToken.objects.filter(pk=user.pk).update(access_token=None)


def test_a_user_is_deleted_with_the_token(connect: Connect) -> None:
    user = connect()

    user.delete()

    assert not SpotifyToken.objects.exists()


def test_each_partition_is_vacuumed_as_the_whole_table_was() -> None:
    whole = options_of("whole")

    assert whole
    for number in range(PARTITIONS):
        assert options_of(f"{TABLE}_p{number}") == whole


@in_rotating  # a plan of PostgreSQL's, the same in both worlds
@pytest.mark.parametrize(
    "sql", [claims.FROM_START, claims.FROM_CURSOR], ids=["from the start", "from the cursor"]
)
def test_the_claim_merges_the_due_indexes_without_sorting(connect: Connect, sql: str) -> None:
    user = connect()
    fill(user, rows=20_000)

    plan = plan_of_claim(sql, due_from=token_of(user).due_at.isoformat())

    assert re.search(r"Merge Append\n\s+Sort Key: \w+\.due_at\n", plan), plan
    scanned = re.findall(rf"Index Scan using (\S+) on ({TABLE}_p\d)", plan)
    assert {part for _, part in scanned} == {f"{TABLE}_p{n}" for n in range(PARTITIONS)}, plan
    assert {index for index, _ in scanned} == partial_due_indexes()
    assert "Seq Scan" not in plan
    assert not re.search(r"->\s+(Incremental )?Sort", plan), plan


@in_rotating  # a plan of PostgreSQL's, the same in both worlds
@pytest.mark.slow
def test_a_claim_of_one_user_looks_into_one_partition(connect: Connect) -> None:
    user = connect()
    fill(user, rows=20_000)

    plan = plan_of_claim(claims.OF_USER, user_id=user.pk)

    assert set(re.findall(rf"{TABLE}_p\d\b", plan)) == {partition_of(user)}, plan
    assert "Seq Scan" not in plan


def fill(like: User, *, rows: int) -> None:
    """So many more users, with tokens like this one's that are due over the next hour."""
    with database.cursor() as cursor:
        cursor.execute(
            "INSERT INTO accounts_user (password, is_superuser, first_name, last_name, email, "
            "is_staff, is_active, date_joined, account_id, display_name) "
            "SELECT '', false, '', '', '', false, true, now(), 'filler-' || n, '' "
            "FROM generate_series(1, %s) AS n",
            [rows],
        )
        names = [
            str(field.column)
            for field in SpotifyToken._meta.fields
            if field.column not in ("user_id", "due_at")
        ]
        columns = ", ".join(names)
        cursor.execute(
            f"INSERT INTO {TABLE} (user_id, due_at, {columns}) "  # noqa: S608
            f"SELECT other.id, now() + random() * interval '1 hour', "
            f"{', '.join('token.' + name for name in names)} "
            f"FROM {TABLE} AS token, accounts_user AS other "
            "WHERE token.user_id = %s AND other.id <> token.user_id",
            [like.pk],
        )
        cursor.execute(f"ANALYZE {TABLE}")


def partial_due_indexes() -> set[str]:
    """The indexes on due_at that hold active tokens alone, one a partition."""
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT indexname FROM pg_indexes WHERE starts_with(tablename, %s) "
            "AND indexdef LIKE '%%(due_at) WHERE%%active%%'",
            [f"{TABLE}_p"],
        )
        return {name for (name,) in cursor.fetchall()}


def options_of(table: str) -> set[str]:
    """A table's storage parameters."""
    with database.cursor() as cursor:
        cursor.execute("SELECT reloptions FROM pg_class WHERE oid = %s::regclass", [table])
        return set(cursor.fetchone()[0] or ())


def plan_of_claim(sql: str, **parameters: int | str) -> str:
    """What PostgreSQL does for the claim."""
    with transaction.atomic(), database.cursor() as cursor:
        cursor.execute(f"EXPLAIN (COSTS OFF) {sql}", parameters)
        return "\n".join(line for (line,) in cursor.fetchall())
