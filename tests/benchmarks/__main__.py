"""`make bench`: what a refresh and a read cost, each beside its floor in the same run.

`make bench ARGS=peers` compares the service with what people use today instead.
"""

import logging
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import django
import requests

django.setup()

from django.core.management import call_command  # noqa: E402  (needs the settings)
from django.db import connection as database  # noqa: E402
from django.test.utils import override_settings  # noqa: E402

from accounts.people import person_for  # noqa: E402
from spotify_auth import connection, lanes, tokens  # noqa: E402
from spotify_auth.models import SpotifyToken  # noqa: E402
from tests.benchmarks.dashboard_data import measure_dashboard_data  # noqa: E402
from tests.benchmarks.peers.__main__ import main as compare_with_peers  # noqa: E402
from tests.benchmarks.storage import measure_storage  # noqa: E402
from tests.conftest import grant_of  # noqa: E402
from tests.sandbox_client import Sandbox  # noqa: E402

THREADS = 64
LATENCY_SECONDS = 0.2
USERS = 3000
READS = 3000


def main() -> None:
    """Run each benchmark and print a table."""
    logging.disable(logging.INFO)  # a line for each refresh would be measured too
    call_command("migrate", verbosity=0)
    with (
        Sandbox(access_token_lifetime=3600) as sandbox,
        override_settings(SPOTIFY_ACCOUNTS_URL=sandbox.url, SPOTIFY_API_URL=sandbox.url),
    ):
        print(f"{os.cpu_count()} cores carry everything; {THREADS} threads.")
        user_ids = connect_users(sandbox)
        measure_reads(user_ids)
        measure_dashboard_data(sandbox, user_ids[0])
        sandbox.faults("latency", seconds=LATENCY_SECONDS)
        measure_refreshes(sandbox)
        sandbox.clear()
        measure_storage()


def connect_users(sandbox: Sandbox) -> list[int]:
    """Connect users as their log-ins would."""
    issued_at = connection.database_now()
    user_ids = []
    for name, answer in sandbox.connect([f"user-{n}" for n in range(USERS)]).items():
        user = person_for(account_id=answer["account_id"], display_name=name)
        grant = grant_of(answer)
        connection.connect(user_id=user.pk, grant=grant, issued_at=issued_at)
        user_ids.append(user.pk)
    return user_ids


def measure_refreshes(sandbox: Sandbox) -> None:
    """Lanes in one process against bare keep-alive calls of the same endpoint."""
    floor = Sandbox(access_token_lifetime=3600)
    floor.faults("latency", seconds=LATENCY_SECONDS)
    floor.faults("no_rotation")
    refresh_tokens = [
        answer["refresh_token"]
        for answer in floor.connect(f"user-{n}" for n in range(USERS)).values()
    ]

    def bare(chunk: list[str]) -> int:
        with requests.Session() as session:
            session.trust_env = False
            for refresh_token in chunk:
                session.post(
                    f"{floor.url}/api/token",
                    data={"grant_type": "refresh_token", "refresh_token": refresh_token},
                    auth=(floor.client_id, floor.client_secret),
                    timeout=10,
                ).raise_for_status()
        return len(chunk)

    def lane(_: list[str]) -> int:
        try:
            return lanes.run_lane()
        finally:
            database.close()

    chunks = [refresh_tokens[n::THREADS] for n in range(THREADS)]
    SpotifyToken.objects.update(due_at=connection.database_now())
    bare_rate, bare_cpu = rate_of(bare, chunks)
    floor.stop()
    lane_rate, lane_cpu = rate_of(lane, chunks)
    stats = sandbox.stats()["totals"]
    print(f"bare requests.post       {bare_rate:7.0f}/s {bare_cpu * 1000:6.2f} ms CPU each")
    print(f"lanes, one process       {lane_rate:7.0f}/s {lane_cpu * 1000:6.2f} ms CPU each")
    print(f"ratio                    {lane_rate / bare_rate:7.2f}   {lane_cpu / bare_cpu:6.2f}")
    print(f"refreshes {stats['refreshes']}, reuses of a dead token {stats['reuses_of_dead_token']}")


def rate_of(work: Callable[[list[str]], int], chunks: list[list[str]]) -> tuple[float, float]:
    """Run the work in a thread for each chunk: pieces done a second, CPU seconds for each."""
    started, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(len(chunks)) as pool:
        done = sum(pool.map(work, chunks))
    return done / (time.perf_counter() - started), (time.process_time() - cpu) / done


def measure_reads(user_ids: list[int]) -> None:
    """Reading a token against one raw SELECT of the same row on an open connection."""
    with database.cursor() as cursor:
        raw = cursor.connection.cursor()
    sql = "SELECT access_token FROM spotify_auth_spotifytoken WHERE user_id = %s"

    def floor(user_id: int) -> None:
        raw.execute(sql, [user_id]).fetchone()

    floor_time, read_time = (
        seconds_each(function, user_ids) for function in (floor, tokens.access_token_for)
    )
    print(f"raw psycopg SELECT       {floor_time * 1e6:7.0f} us")
    print(f"access_token_for         {read_time * 1e6:7.0f} us")
    print(f"ratio                    {read_time / floor_time:7.2f}")


def seconds_each(function: Callable[[int], object], user_ids: list[int]) -> float:
    """The mean duration of a call."""
    started = time.perf_counter()
    for n in range(READS):
        function(user_ids[n % len(user_ids)])
    return (time.perf_counter() - started) / READS


if __name__ == "__main__":
    if sys.argv[1:2] == ["peers"]:
        compare_with_peers(sys.argv[2:])
    else:
        main()
