"""How the history grows at a million users, and what folding and pruning it cost.

A database with the real schema and a history as it would stand: routine events of twelve hours,
folded ones of a week and evidence of 400 days. Then tokens fall due and are claimed and stored by
the statements of a lane, without Spotify, while the chores count, fold and prune as a worker does;
autovacuum runs by itself. The CPU is that of processes, their children of PostgreSQL included.

`--long` does so for an hour at 370 refreshes a second, what a million users need: a whole round of
folding falls into it, so that it costs six times its share. The short form has a twentieth of the
history, as many refreshes a second as it can, and a vacuum at the end, since autovacuum looks once
a minute.
"""

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psutil
from django.db import connection

from benchmarks.claiming import GRANT
from benchmarks.measurement import Row, micro, per_second
from benchmarks.million import database_of, databases, fill
from spotify_auth import chores
from spotify_auth.accounts_service.answers import Granted
from spotify_auth.connections import database_now
from spotify_auth.figures import roll_up
from spotify_auth.history import folding, pruning
from spotify_auth.history.tables import EVENTS, FOLDED, ROUTINE
from spotify_auth.refresh import claims, store
from spotify_auth.refresh.decisions import decide
from spotify_auth.refresh.history import Evidence
from spotify_auth.refresh.transaction import ClaimTransaction

TITLE = "The history at a million users"
PEOPLE, LONG_PEOPLE = 50_000, 1_000_000
SECONDS, LONG_SECONDS = 12, 3600
A_DAY = 32_000_000
"""Refreshes of a million users."""
LANES = 4
"""A commit waits for the disk: one lane alone reaches a third of what a million users need."""
PERIOD = 2700
"""Seconds between two refreshes of a user."""
EVIDENCE_A_DAY = 0.025
"""Logins, failures and what people did, for each user: one of forty does, or meets, something."""
MOST_GROWTH_GB, MOST_STANDING_GB, MOST_CPU = 1.0, 10.0, 0.05

_DATABASE = "bench_history"
# In the order of time, each user once in a period: as lanes would have left them.
_ROUTINE = f"""
INSERT INTO {ROUTINE} (user_id, at, generation_before, generation_after, rotated,
                       lifetime_granted, lifetime_used, duration_ms)
SELECT first + n * 7919 %% %(people)s, %(now)s - %(span)s * (1 - n::float / %(rows)s),
       100 + n / %(people)s, 101 + n / %(people)s, true, 3600, 2700, 150 + n %% 100
FROM generate_series(0::bigint, %(rows)s - 1) AS n,
     (SELECT min(id) AS first FROM accounts_user) AS people
"""  # noqa: S608  (constants of the app)
# A row of 32 refreshes for each user and day. The oldest are just too young to be deleted.
_FOLDED = f"""
INSERT INTO {FOLDED} (id, user_id, at, generation_before, generation_after, rotated,
                      lifetime_granted, lifetime_used, duration_ms, began_at, refreshes)
SELECT nextval(pg_get_serial_sequence('{EVENTS}', 'id')), users.id,
       %(now)s - interval '7 days' + interval '1 day' * (day + place),
       %(last)s - 32 * (7 - day), %(last)s - 32 * (6 - day), true, 3600, 2700, 200,
       %(now)s - interval '8 days' + interval '1 day' * (day + place), numbers
FROM generate_series(0, 6) AS day,
     (SELECT id, row_number() OVER (ORDER BY id)::float / %(people)s AS place
      FROM accounts_user) AS users,
     (SELECT array_agg(2700000 + n) AS numbers FROM generate_series(1, 64) AS n) AS refreshes
ORDER BY day, place
"""  # noqa: S608
_EVIDENCE = f"""
INSERT INTO {EVENTS} (user_id, at, cause, outcome, generation_before, generation_after, rotated,
                      duration_ms, worker, error)
SELECT first + n * 7919 %% %(people)s, %(now)s - interval '400 days' * (1 - n::float / %(rows)s),
       'schedule', 'retry', 7, 7, false, 900, 'worker-1.example:12345', 'server_error'
FROM generate_series(0::bigint, %(rows)s - 1) AS n,
     (SELECT min(id) AS first FROM accounts_user) AS people
"""  # noqa: S608
_MARKS = f"""
UPDATE spotify_auth_rolledup SET counted_to = (SELECT max(id) FROM {EVENTS});
INSERT INTO spotify_auth_historymark (id, routine_to)
VALUES (1, (SELECT max(id) FROM ONLY {EVENTS}))
ON CONFLICT (id) DO UPDATE SET routine_to = excluded.routine_to;
"""  # noqa: S608
_TOO_OLD = f"""
SELECT (SELECT count(*) FROM {FOLDED} WHERE at < now() - interval '7 days 1 hour')
     + (SELECT count(*) FROM ONLY {EVENTS} WHERE at < now() - interval '400 days 1 hour')
"""  # noqa: S608
_VACUUMING = """
SELECT pid, relid::regclass::text FROM pg_stat_progress_vacuum
WHERE datname = current_database()
"""
_DEAD = f"SELECT pg_stat_get_dead_tuples('{ROUTINE}'::regclass)"
_OVERDUE = """
SELECT coalesce(extract(epoch FROM now() - min(due_at)), 0)::float FROM spotify_auth_spotifytoken
WHERE status = 'active'
"""


@dataclass
class Session:
    """What a thread and its session of PostgreSQL have used."""

    done: int = 0
    thread_cpu: float = 0.0
    server_cpu: float = 0.0
    wal: int = 0
    problem: BaseException | None = None


@dataclass
class Seen:
    """What was measured."""

    people: int
    seconds: float
    refreshed: int
    counting: Session
    folding: Session
    pruning: Session
    vacuum_cpu: float
    wal: int
    dead: list[int]
    overdue: float
    too_old: int
    sizes: dict[str, int]
    folded_refreshes: int

    @property
    def cpu(self) -> float:
        """Seconds of folding, pruning and the vacuums that they make necessary."""
        used = (self.folding, self.pruning)
        return self.vacuum_cpu + sum(each.thread_cpu + each.server_cpu for each in used)

    @property
    def cpu_of_a_day(self) -> float:
        """Seconds of a core that a second of a million users costs in the long run."""
        return self.cpu / self.folding.done * A_DAY / 86_400


def run(*, long: bool) -> list[Row]:
    """Fill, let it work, and see what it took."""
    people = LONG_PEOPLE if long else PEOPLE
    with databases([_DATABASE]):
        fill(_DATABASE, tokens=people, now=database_now())
        with database_of(_DATABASE):
            _fill_history(people)
            seen = _work(people, seconds=LONG_SECONDS if long else SECONDS, long=long)
    return _rows(seen)


def _rows(seen: Seen) -> list[Row]:
    of_a_day = {
        # What folding and pruning leave: a week, and 400 days.
        "folded": seen.sizes[FOLDED] / seen.folded_refreshes * A_DAY,
        "evidence": seen.sizes[EVENTS] / 400 * LONG_PEOPLE / seen.people,
    }
    standing = sum(seen.sizes.values()) * LONG_PEOPLE / seen.people
    sizes = ", ".join(
        f"{size * LONG_PEOPLE / seen.people / 1e9:.1f} {name}"
        for name, size in zip(("hours", "folded", "kept"), seen.sizes.values(), strict=True)
    )
    rate, dead = seen.refreshed / seen.seconds, max(seen.dead)
    return [
        Row(
            what="growth in a day, of a million users, before pruning",
            target=f"at most {MOST_GROWTH_GB:.0f} GB",
            figure=f"{sum(of_a_day.values()) / 1e9:.2f} GB",
            floor=f"{seen.sizes[FOLDED] / seen.folded_refreshes:.1f} bytes a refresh",
            met=sum(of_a_day.values()) <= MOST_GROWTH_GB * 1e9,
        ),
        Row(
            what="the whole history of a million users, dead rows included",
            target=f"at most {MOST_STANDING_GB:.0f} GB",
            figure=f"{standing / 1e9:.1f} GB",
            floor=sizes,
            met=standing <= MOST_STANDING_GB * 1e9,
        ),
        Row(
            what="folding, pruning and their vacuums, of a core, at 370 refreshes a second",
            target=f"at most {MOST_CPU:.0%}",
            figure=f"{seen.cpu_of_a_day:.1%}",
            floor=f"{micro(seen.cpu / seen.folding.done)} an event; "
            f"{seen.cpu / seen.seconds:.1%} while a round was folded",
            met=seen.cpu_of_a_day <= MOST_CPU,
        ),
        Row(
            what=f"behind at the end, after {seen.seconds / 60:.0f} minutes at {per_second(rate)}",
            target="nothing",
            figure=f"{seen.too_old} events too old by an hour",
            floor=f"{seen.folding.done:,} folded, {seen.pruning.done:,} deleted, "
            f"{seen.overdue:.1f} s overdue",
            met=seen.too_old == 0,
        ),
        Row(
            what="WAL of a refresh, folding and pruning included",
            target="",
            figure=f"{seen.wal / seen.refreshed:.0f} bytes",
            floor=f"{seen.folding.wal / seen.folding.done:.0f} bytes an event folded",
        ),
        Row(
            what="most dead rows among the routine events",
            target="",
            figure=f"{dead:,}",
            floor=f"{micro(seen.vacuum_cpu / seen.folding.done)} of vacuum an event folded",
        ),
        Row(
            what="counting a refresh into minutes and hours",
            target="",
            figure=micro((seen.counting.thread_cpu + seen.counting.server_cpu) / seen.refreshed),
        ),
    ]


def _fill_history(people: int) -> None:
    now = database_now()
    span = timedelta(hours=12)
    rows = round(people * span.total_seconds() / PERIOD)
    values: dict[str, Any] = {"people": people, "now": now, "span": span}
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # no foreign keys meanwhile
        cursor.execute("DROP INDEX event_of_user, routine_event_of_user")
        cursor.execute(_EVIDENCE, {**values, "rows": round(people * EVIDENCE_A_DAY * 400)})
        cursor.execute(_FOLDED, {**values, "last": 1000})
        cursor.execute(_ROUTINE, {**values, "rows": rows})
        cursor.execute("RESET session_replication_role")
        # As full as they are where users come in any order.
        cursor.execute(
            f"CREATE INDEX event_of_user ON {EVENTS} (user_id, id DESC) WITH (fillfactor = 70); "
            f"CREATE INDEX routine_event_of_user ON {ROUTINE} (user_id, id DESC) "
            "WITH (fillfactor = 70)"
        )
        cursor.execute(_MARKS)
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")


def _work(people: int, *, seconds: int, long: bool) -> Seen:
    lanes = [Session() for _ in range(LANES)]
    counting, folds, prunes = Session(), Session(), Session()
    stop = threading.Event()
    pauses = {"fold": 50.0, "prune": 600.0} if long else {"fold": 0.0, "prune": 5.0}
    if not long:
        with connection.cursor() as cursor:  # all at once: as many as the lane can
            cursor.execute("UPDATE spotify_auth_spotifytoken SET due_at = now() WHERE true")
    works = [
        *((lane, _refresh, 0.1) for lane in lanes),
        (counting, _count, 5.0),
        (folds, folding.fold, pauses["fold"]),
        (prunes, _prune, pauses["prune"]),
    ]
    threads = [
        threading.Thread(target=_go_on, args=(session, work, pause, stop))
        for session, work, pause in works
    ]
    wal, began = _number("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"), time.monotonic()
    for thread in threads:
        thread.start()
    vacuum_cpu, dead = 0.0, []
    known: dict[int, float] = {}
    while time.monotonic() < began + seconds:
        time.sleep(1)
        vacuum_cpu += _vacuuming(known)
        dead.append(int(_number(_DEAD)))
    stop.set()
    for thread in threads:
        thread.join()
    for session, _, _ in works:
        if session.problem:
            raise session.problem
    took = time.monotonic() - began
    wal = _number("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn") - wal
    if not long:  # autovacuum looks once a minute
        vacuum_cpu += _vacuum()
    return Seen(
        people=people,
        seconds=took,
        refreshed=sum(lane.done for lane in lanes),
        counting=counting,
        folding=folds,
        pruning=prunes,
        vacuum_cpu=vacuum_cpu,
        wal=int(wal),
        dead=dead,
        overdue=_number(_OVERDUE),
        too_old=int(_number(_TOO_OLD)),
        sizes={
            table: int(_number(f"SELECT pg_total_relation_size('{table}')"))
            for table in (ROUTINE, FOLDED, EVENTS)
        },
        folded_refreshes=int(
            _number(f"SELECT sum(cardinality(refreshes)) / 2 FROM {FOLDED}")  # noqa: S608
        ),
    )


def _go_on(session: Session, work: Callable[[], int], pause: float, stop: threading.Event) -> None:
    """Do this again and again in a thread of its own, and note what it took."""
    try:
        process = psutil.Process(int(_number("SELECT pg_backend_pid()")))
        before, wal = _cpu(process), _wal_of(process.pid)
        while not stop.is_set():
            session.done += work()
            stop.wait(pause)
        session.thread_cpu = time.thread_time()
        session.server_cpu = _cpu(process) - before
        session.wal = _wal_of(process.pid) - wal
    except BaseException as problem:
        session.problem = problem
    finally:
        connection.close()


def _refresh() -> int:
    """Claim and store what is due, for a second at most."""
    refreshed, until = 0, time.monotonic() + 1
    while time.monotonic() < until:
        with ClaimTransaction() as transaction:
            claim = claims.most_urgent(transaction)
            if claim is None:
                break
            decision = decide(claim, Granted(GRANT), Evidence(), False, random.random())
            applied = store.apply(transaction, claim, decision, duration=0.2)
        refreshed += applied.stored
    return refreshed


def _count() -> int:
    roll_up.roll_up()
    return 1


def _prune() -> int:
    deleted = 0
    for part in pruning.PARTS:
        more = True
        while more:
            with chores.unhurried():
                some, more = pruning.prune_some(part)
            deleted += some
    return deleted


def _vacuuming(known: dict[int, float]) -> float:
    """CPU that autovacuum has spent on the history since the last look."""
    with connection.cursor() as cursor:
        cursor.execute(_VACUUMING)
        found = cursor.fetchall()
    spent = 0.0
    for pid, table in found:
        with suppress(psutil.NoSuchProcess):
            used = _cpu(psutil.Process(pid))
            if table in (ROUTINE, FOLDED, EVENTS):
                spent += used - known.get(pid, 0.0)
            known[pid] = used
    return spent


def _vacuum() -> float:
    process = psutil.Process(int(_number("SELECT pg_backend_pid()")))
    before = _cpu(process)
    with connection.cursor() as cursor:
        cursor.execute(f"VACUUM {ROUTINE}, {FOLDED}, {EVENTS}")
    return _cpu(process) - before


def _number(sql: str) -> float:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return float(cursor.fetchone()[0])


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _wal_of(pid: int) -> int:
    return int(_number(f"SELECT wal_bytes FROM pg_stat_get_backend_wal({pid})"))  # noqa: S608
