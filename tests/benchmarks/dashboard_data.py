"""The dashboard as JSON, all of it, beside one bare call of the Web API in the same run."""

import statistics
import time
from collections.abc import Callable

import requests
from django.conf import settings
from django.test import Client

from accounts.models import User
from local.process import free_port
from spotify_auth import tokens
from tests.processes import service_environment, wait_for, web_process
from tests.sandbox_client import Sandbox

LATENCY_SECONDS = 0.1
ROUNDS = 50
MOST = 1.3
"""Times one bare call: what the whole answer may take."""


def measure_dashboard_data(sandbox: Sandbox, user_id: int) -> float:
    """A real gunicorn against a Web API that takes 100 ms a call; the ratio of the medians."""
    user = User.objects.get(pk=user_id)
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
            times = [(_seconds(bare_call), _seconds(whole_answer)) for _ in range(ROUNDS)]
    finally:
        web.teardown()
        sandbox.clear()
    one = statistics.median(bare for bare, _ in times)
    all_of_it = statistics.median(whole for _, whole in times)
    slow = sorted(whole for _, whole in times)[int(ROUNDS * 0.95)]
    print(f"one bare Web API call    {one * 1000:7.1f} ms")
    print(f"dashboard-data           {all_of_it * 1000:7.1f} ms, 95 %: {slow * 1000:.1f} ms")
    print(f"ratio                    {all_of_it / one:7.2f}   at most {MOST}")
    return all_of_it / one


def _all_is_well(response: requests.Response) -> bool:
    states = {part["state"] for part in response.json()["parts"].values()}
    return response.ok and "error" not in states


def _seconds(call: Callable[[], requests.Response]) -> float:
    started = time.perf_counter()
    response = call()
    duration = time.perf_counter() - started
    response.raise_for_status()
    return duration
