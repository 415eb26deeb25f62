"""Workers on two hosts, and one PostgreSQL and one Redis: one host is cut off, and comes back.

The hosts are network namespaces, and a cable that is pulled out swallows packets: nobody is told
that the other side is gone, as it is when a switch fails.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import pytest
from django.core.management import call_command
from pytest_django import DjangoDbBlocker

from accounts.models import User
from dev.postgres import Postgres
from dev.process import free_port
from dev.redis import redis_server
from dev.testing import DATABASE, temporary_directory
from tests.support.fault_stack import PASSWORD, default_database
from tests.support.hosts_of_a_network import SPOTIFY, CannotHaveHosts, Host, network
from tests.support.lanes import locked, stopped_before_its_request
from tests.support.paces import let_nobody_look
from tests.support.processes import (
    LocalProcess,
    beat_process,
    service_environment,
    wait_for,
    worker_process,
)
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import account_of, connect_users, make_due, token_of

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("two_hosts"),
]

# A packet comes from a host's own address, so PostgreSQL must admit those.
_HBA = "host all all 127.0.0.1/32 scram-sha-256\nhost all all 10.0.0.0/8 scram-sha-256\n"


@dataclass
class Cluster:
    """The servers, and two hosts. A test starts the workers that it wants."""

    redis: LocalProcess
    sandbox: Sandbox
    env: dict[str, str]
    first: Host
    second: Host
    workers: list[LocalProcess] = field(default_factory=list)

    def worker(self, name: str, host: Host, *, concurrency: int) -> LocalProcess:
        """A running worker on one of the hosts."""
        worker = worker_process(name, env=self.env, concurrency=concurrency, prefix=host.prefix)
        self.workers.append(worker)
        worker.ready()
        return worker

    def attempts(self, user: User) -> int:
        """How often Spotify was asked for this user's refresh."""
        return int(self.sandbox.stats(user.account_id)["refreshes_attempted"])

    def reuses(self, users: list[User]) -> int:
        """How often a dead refresh token of one of these was presented."""
        counts = (self.sandbox.stats(user.account_id) for user in users)
        return sum(each["reuses_of_dead_token"] for each in counts)


@pytest.fixture(scope="module")
def servers(django_db_blocker: DjangoDbBlocker) -> Iterator[Cluster]:
    home = Path(tempfile.mkdtemp(prefix="hosts-", dir=temporary_directory()))
    home.chmod(0o755)  # root's PostgreSQL, which is another user, passes through it
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, home)
        try:
            net = stack.enter_context(network())
            first, second = (stack.enter_context(Host(net)) for _ in range(2))
        except CannotHaveHosts as reason:
            pytest.skip(f"no second host: {reason}")
        (home / "hba").write_text(_HBA)
        postgres = Postgres(
            home / "postgres",
            port=free_port(),
            password=PASSWORD,
            options=[f"hba_file={home}/hba", "fsync=off"],
        )
        stack.callback(postgres.stop)
        postgres.start()
        postgres.create_database(DATABASE)
        port = free_port()
        redis = LocalProcess(
            "redis",
            [redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(home)],
            env={},
            ready_when="Ready to accept connections",
        )
        stack.callback(redis.teardown)
        redis.ready()
        sandbox = stack.enter_context(
            Sandbox(access_token_lifetime=600, options=["--host", SPOTIFY])
        )
        sandbox.faults("reuse_revokes_grant")
        with django_db_blocker.unblock(), default_database(postgres.url(DATABASE)):
            call_command("migrate", verbosity=0)
            env = service_environment(
                spotify_url=sandbox.url,
                redis_url=f"redis://127.0.0.1:{port}/0",
                ACCESS_TOKEN_LIFETIME_SECONDS="600",
                TOKEN_ENDPOINT_DEADLINE_SECONDS="2",
                REFRESH_SWEEP_SECONDS="0.5",
            )
            beat = beat_process("beat", env=env)
            stack.callback(beat.teardown)
            beat.ready()
            yield Cluster(redis, sandbox, env, first, second)


@pytest.fixture
def cluster(servers: Cluster) -> Iterator[Cluster]:
    yield servers
    for cable in ("lan", "uplink"):
        servers.first.plug_in(cable)
    for worker in servers.workers:
        worker.teardown()
    servers.workers.clear()
    User.objects.all().delete()


def are_at(users: list[User], generation: int) -> bool:
    """Whether all tokens are of this generation."""
    return {token_of(user).generation for user in users} == {generation}


TRIES = 4
"""Hosts are cut off so often, until a lane stands between its claim and its request."""


def all_are_held(cluster: Cluster, users: tuple[User, ...]) -> bool:
    """Whether the exchanges of these users stand at Spotify; a call given up stands there too."""
    held = cluster.sandbox.stats()["held"] >= len(users)
    return held and all(cluster.attempts(user) for user in users)


def cut_off_the_first(cluster: Cluster, people: list[User]) -> tuple[LocalProcess, list[User]]:
    """The worker that is cut off, and its users: refreshed, not yet asked for, in an exchange."""
    sandbox = cluster.sandbox
    for before, unasked, asked in zip(people[::3], people[1::3], people[2::3], strict=True):
        worker = cluster.worker("cut-off", cluster.first, concurrency=2)
        # One lane is in the middle of an exchange: its first request failed, the second is held.
        sandbox.faults("hold", users=[asked.account_id], when="before", times=2)
        sandbox.faults("connection_reset", users=[asked.account_id], times=2)
        sandbox.faults("hold", users=[before.account_id], times=1)
        let_nobody_look(cluster.env["REDIS_URL"])
        for user in (asked, before):
            make_due(user)
        pair = (asked, before)
        wait_for(partial(all_are_held, cluster, pair), what="two exchanges")
        # The other stands between its claim and its request.
        is_cut_off = stopped_before_its_request(
            unasked,
            stop=partial(cluster.first.pull_out, "lan"),
            redis=cluster.redis,
            sandbox=sandbox,
        )
        # If this process was slow, the call was given up, and its dead token was shown.
        if is_cut_off and cluster.attempts(before) == 1:
            sandbox.release()
            return worker, [before, unasked, asked]
        cluster.first.plug_in("lan")
        sandbox.release()  # what is held ends as its fault says: nothing is carried out unseen
        wait_for(lambda: sandbox.stats()["in_flight"] == 0, what="the exchanges to end")
        sandbox.clear()
        sandbox.faults("reuse_revokes_grant")
        worker.stop()  # politely: what it has in hand is stored
    pytest.fail("no host was cut off between a claim and its request")


def test_a_host_that_is_cut_off_presents_no_dead_token_and_loses_nothing(cluster: Cluster) -> None:
    """From PostgreSQL and Redis, while Spotify still answers it: the worst that can happen."""
    sandbox = cluster.sandbox
    people = connect_users(sandbox, count=5 + 3 * TRIES)
    others = people[:5]
    cut_off, users = cut_off_the_first(cluster, people[5:])
    before, unasked, asked = users
    assert token_of(before).generation == 2

    cluster.worker("other", cluster.second, concurrency=8)
    for user in others:
        make_due(user)

    wait_for(lambda: are_at(others, 2), what="the other host to go on")
    wait_for(lambda: not locked(unasked), what="PostgreSQL to end the lock")
    wait_for(lambda: are_at([unasked, asked], 2), what="the other host to refresh them", seconds=60)
    wait_for(lambda: "lane_ended reason=" in cut_off.logs(), what="its lanes to end")
    cluster.first.plug_in("lan")
    cluster.workers.pop().teardown()
    everybody = [*users, *others]
    for user in everybody:
        make_due(user)
    wait_for(lambda: are_at(everybody, 3), what="the host to work again", seconds=60)
    assert cluster.reuses(everybody) == 0
    for user in everybody:
        assert token_of(user).status == "active"
        assert account_of(sandbox, token_of(user).access_token) == user.account_id


def test_what_a_host_could_not_send_is_not_sent_when_it_is_back(cluster: Cluster) -> None:
    """The kernel keeps a request for minutes that it could not send, though its call is given up.

    When the cable is back, another host has replaced the refresh token that is in it.
    """
    (user,) = connect_users(cluster.sandbox, count=1)
    cut_off = cluster.worker("cut-off", cluster.first, concurrency=1)
    make_due(user)
    wait_for(partial(are_at, [user], 2), what="a connection to Spotify that is kept")
    other = cluster.worker("other", cluster.second, concurrency=1)
    other.kill(SIGSTOP)
    cluster.first.pull_out("uplink")

    make_due(user)
    wait_for(lambda: cluster.first.unsent_bytes() > 0, what="a request that is not sent")
    wait_for(lambda: not locked(user), what="its attempt to end")
    cut_off.kill(SIGSTOP)  # it makes no new request: what is sent from now on is old
    other.kill(SIGCONT)
    wait_for(partial(are_at, [user], 3), what="the other host to refresh it", seconds=120)
    cluster.first.plug_in("uplink")

    wait_for(lambda: cluster.first.unsent_bytes() == 0, what="the kernel to end it", seconds=60)
    cut_off.kill(SIGCONT)
    assert cluster.reuses([user]) == 0
    make_due(user)
    wait_for(partial(are_at, [user], 4), what="the next refresh")
    assert token_of(user).status == "active"
