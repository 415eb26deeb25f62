"""The floor of a refresh: bare keep-alive `session.post` calls, in a process of their own.

`python -m benchmarks.baseline URL WARM_UP SECONDS SESSION`, a refresh token on each line
of the standard input, gives each token a thread. After the warm-up it counts calls and the
CPU of the process for that number of seconds, and prints both as JSON. SESSION is "plain", as
requests makes it, or "lean": it does not look into the environment for proxies and .netrc, as
ours does not, which saves a quarter.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import requests

from benchmarks.meters import Window
from dev.process import ROOT
from tests.support.sandbox_client import Sandbox


def bare_calls(
    url: str,
    refresh_tokens: Sequence[str],
    *,
    warm_up: float,
    seconds: float,
    session: Literal["plain", "lean"],
    processes: int = 1,
    authority: Path | None = None,
) -> Window:
    """Run it in this many processes, the tokens dealt out among them; the sum of all.

    `authority` has signed the certificate of a server that speaks TLS.
    """
    arguments = [url, str(warm_up), str(seconds), session]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.baseline", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "REQUESTS_CA_BUNDLE": str(authority)} if authority else None,
        )
        for _ in range(processes)
    ]
    for n, process in enumerate(running):
        assert process.stdin
        process.stdin.write("\n".join(refresh_tokens[n::processes]))
        process.stdin.close()
    answers = []
    for process in running:
        assert process.stdout
        with process.stdout as output:
            answers.append(json.loads(output.read()))
        process.wait()
    return Window(
        done=sum(answer["done"] for answer in answers),
        seconds=max(answer["seconds"] for answer in answers),
        cpu_seconds=sum(answer["cpu_seconds"] for answer in answers),
    )


def _main(
    url: str, warm_up: float, seconds: float, kind: str, refresh_tokens: Sequence[str]
) -> None:
    stop = threading.Event()
    counts = [0] * len(refresh_tokens)

    def call(n: int) -> None:
        with requests.Session() as session:
            session.trust_env = kind == "plain"
            session.verify = os.environ.get("REQUESTS_CA_BUNDLE", True)
            while not stop.is_set():
                session.post(
                    f"{url}/api/token",
                    data={"grant_type": "refresh_token", "refresh_token": refresh_tokens[n]},
                    auth=(Sandbox.client_id, Sandbox.client_secret),
                    timeout=10,
                ).raise_for_status()
                counts[n] += 1

    threads = [threading.Thread(target=call, args=(n,)) for n in range(len(counts))]
    for thread in threads:
        thread.start()
    time.sleep(warm_up)
    done, cpu, started = sum(counts), time.process_time(), time.perf_counter()
    time.sleep(seconds)
    answer = {
        "cpu_seconds": time.process_time() - cpu,
        "done": sum(counts) - done,
        "seconds": time.perf_counter() - started,
    }
    stop.set()
    for thread in threads:
        thread.join()
    print(json.dumps(answer))


if __name__ == "__main__":
    _main(
        sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), sys.argv[4], sys.stdin.read().split()
    )
