"""The project with RabbitMQ for a broker: a worker, a beat, and what a sweep asks of its queues.

Debian's package is too large to be fetched for each run: tried where a server is installed.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.process import free_port
from tests.support.processes import LocalProcess, wait_for
from tests.support.standalone import Project

SERVERS = ("/usr/lib/rabbitmq/bin/rabbitmq-server", shutil.which("rabbitmq-server") or "")
"""Debian's, without the script before it that changes to another user; and any other."""
SERVER = next((path for path in SERVERS if path and Path(path).exists()), "")

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.xdist_group("standalone"),
    pytest.mark.skipif(not SERVER, reason="no rabbitmq-server is installed on this machine"),
]

# In the project's own process: a queue that is not there, and lanes that nobody takes.
ASK = """
import time
from celery import current_app
from django.db import connection
from spotify_auth import queues
from spotify_auth.refresh import lanes

def waiting():
    # What was sent over one connection may be counted over another a moment later.
    until = time.monotonic() + 10
    while not (count := queues.waiting("lanes")) and time.monotonic() < until:
        time.sleep(0.05)
    return count

with current_app.connection_for_write() as broker:
    broker.default_channel.queue_purge("lanes")  # what the worker gave back when it stopped
connection.cursor().execute("UPDATE spotify_auth_spotifytoken SET due_at = now()")
print([queues.waiting("made-by-nobody"), lanes.open_lanes(), waiting()])
print([queues.waiting("made-by-nobody"), lanes.open_lanes(), waiting()])
"""


@pytest.fixture(scope="module")
def broker_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A RabbitMQ of this test's own, on loopback ports."""
    home = tmp_path_factory.mktemp("rabbitmq")
    port, between_nodes, names = free_port(), free_port(), str(free_port())
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "RABBITMQ_NODENAME": f"standalone-{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(between_nodes),
        "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": names,
    }
    server = LocalProcess("rabbitmq", [SERVER], env=env, ready_when="completed with", cwd=home)
    try:
        server.ready()
        yield f"amqp://guest:guest@127.0.0.1:{port}//"
    finally:
        server.teardown()
        # The daemon that knows the names of Erlang's nodes is in a session of its own.
        subprocess.run(["epmd", "-port", names, "-kill"], env=env, check=False)  # noqa: S607


@pytest.mark.parametrize("project", ["auth.User"], indirect=True)
def test_tokens_are_refreshed_with_rabbitmq(project: Project) -> None:
    browser = project.browser("user-1")
    assert browser.connect("user-1", "/music/").status_code == 302

    first = browser.get("/music/").json()["generation"]
    project.lifetime_passes(project.users["user-1"])
    wait_for(lambda: browser.get("/music/").json()["generation"] > first, what="a refresh")

    for name in ("beat", "worker"):
        project.processes[name].stop()
    # An absent queue is no error, and spoils nothing for those who send after it.
    said = project.manage("shell", "--no-imports", "-c", ASK)
    assert said.splitlines()[-2:] == ["[0, 1, 1]", "[0, 0, 1]"]
    assert "PRECONDITION_FAILED" not in project.processes["worker"].logs()
    assert "Traceback" not in project.processes["worker"].logs()
