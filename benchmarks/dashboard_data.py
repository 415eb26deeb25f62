"""The dashboard as JSON, all of it, beside one bare call of the Web API in the same run."""

import statistics
import time
from collections.abc import Callable

import requests
from django.conf import settings
from django.test import Client

from benchmarks.bulk_users import connect_people
from benchmarks.measurement import Row, milli
from dev.process import free_port
from spotify_auth import tokens
from tests.support.processes import service_environment, wait_for, web_process
from tests.support.sandbox_client import Sandbox

TITLE = "The dashboard's data"
LATENCY_SECONDS = 0.1
ROUNDS = 30
MOST = 1.3
"""Times one bare call: what the whole answer may take."""


def run(*, long: bool) -> list[Row]:
    """A real gunicorn against a Web API that takes 100 ms a call; the ratio of the medians."""
    with Sandbox(access_token_lifetime=3600) as sandbox:
        times = _measure(sandbox, rounds=ROUNDS * (5 if long else 1))
    one = statistics.median(bare for bare, _ in times)
    all_of_it = statistics.median(whole for _, whole in times)
    slow = statistics.quantiles((whole for _, whole in times), n=20)[18]
    return [
        Row(
            what="GET /api/dashboard-data, 100 ms for each Web API call",
            target=f"at most {MOST} x one call",
            figure=f"{milli(all_of_it)}: {all_of_it / one:.2f} x (95 %: {milli(slow)})",
            floor=f"{milli(one)} one bare call",
            met=all_of_it / one <= MOST,
        )
    ]


def _measure(sandbox: Sandbox, *, rounds: int) -> list[tuple[float, float]]:
    """Seconds of a bare call and of the whole answer, in turns."""
    (user,) = connect_people(sandbox, 1)
    port = free_port()
    web = web_process(
        "web",
        env=service_environment(
            spotify_url=sandbox.url,
            redis_url=settings.REDIS_URL,
            HOST="127.0.0.1",
            PORT=str(port),
            WEB_CONCURRENCY="1",
        ),
    )
    sandbox.faults("web_api_latency", seconds=LATENCY_SECONDS)
    browser = Client()
    browser.force_login(user)
    try:
        web.ready()
        with requests.Session() as session:
            session.trust_env = False
            cookies = {"sessionid": browser.cookies["sessionid"].value}
            bearer = {"Authorization": f"Bearer {tokens.access_token_for(user).value}"}

            def bare_call() -> requests.Response:
                return session.get(f"{sandbox.url}/v1/me", headers=bearer, timeout=10)

            def whole_answer() -> requests.Response:
                return session.get(
                    f"http://127.0.0.1:{port}/api/dashboard-data", cookies=cookies, timeout=10
                )

            wait_for(lambda: _all_is_well(whole_answer()), what="the dashboard's data")
            return [(_seconds(bare_call), _seconds(whole_answer)) for _ in range(rounds)]
    finally:
        web.teardown()
        user.delete()


def _all_is_well(response: requests.Response) -> bool:
    states = {part["state"] for part in response.json()["parts"].values()}
    return response.ok and "error" not in states


def _seconds(call: Callable[[], requests.Response]) -> float:
    started = time.perf_counter()
    response = call()
    duration = time.perf_counter() - started
    response.raise_for_status()
    return duration
