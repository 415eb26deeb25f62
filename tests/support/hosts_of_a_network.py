"""Hosts beside this one, as network namespaces: each has two cables that can be pulled out.

127.0.0.1 is, for a process on such a host, this machine's: PostgreSQL and Redis are there, over the
cable `lan`. 127.0.0.2 is the sandbox Spotify, over the cable `uplink`. A cable that is pulled out
swallows packets, and nobody is told.
"""

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from signal import SIGTERM
from typing import Self

from dev import debian
from dev.process import die_with_parent

SPOTIFY = "127.0.0.2"
_CABLES = {"lan": "127.0.0.1", "uplink": SPOTIFY}


class CannotHaveHosts(Exception):
    """This machine or this user cannot make network namespaces. The message says why."""


class Network:
    """A switch for each kind of cable, in this machine's own namespace."""

    def __init__(self, ip: debian.Program) -> None:
        self.ip = [*("env", *(f"{name}={value}" for name, value in ip.env.items())), str(ip.path)]
        self.name = secrets.token_hex(3)
        self._hosts = 0
        # Of a range for private use, and seldom twice the same on one machine.
        self._net = f"10.{128 + secrets.randbelow(120)}"

    def address(self, cable: str, host: int) -> str:
        """Of a host; of this machine, which is number 1."""
        return f"{self._net}.{list(_CABLES).index(cable)}.{host}"

    def switch(self, cable: str) -> str:
        """The name of the switch for this cable."""
        return f"k{self.name}{cable[0]}"

    def next_number(self) -> int:
        """A number that no other host has."""
        self._hosts += 1
        return 1 + self._hosts

    def run(self, *words: str) -> None:
        """`ip` with these words. Raises CannotHaveHosts."""
        ended = subprocess.run([*self.ip, *words], capture_output=True, text=True, check=False)
        if ended.returncode:
            raise CannotHaveHosts(f"`ip {' '.join(words)}`: {ended.stderr.strip()}")


class Host:
    """One host. It is gone when its block ends, with all that was plugged into it."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._number = network.next_number()
        self._holder = subprocess.Popen(
            ["/usr/bin/env", "unshare", "--net", "sh", "-c", "echo made; exec sleep 3600"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: die_with_parent(SIGTERM),
        )
        assert self._holder.stdout
        assert self._holder.stderr
        if not self._holder.stdout.readline():
            raise CannotHaveHosts(f"`unshare --net`: {self._holder.stderr.read().strip()}")

    def __enter__(self) -> Self:
        try:
            for cable in _CABLES:
                self._lay(cable)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.kill()
        self._holder.communicate()

    @property
    def prefix(self) -> list[str]:
        """What stands before a command, so that it runs on this host."""
        return ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net"]

    def pull_out(self, cable: str) -> None:
        """From now on what is sent over this cable is gone, both ways."""
        self._network.run("link", "set", self._plug(cable), "nomaster")

    def plug_in(self, cable: str) -> None:
        """It carries again."""
        self._network.run("link", "set", self._plug(cable), "master", self._network.switch(cable))

    def unsent_bytes(self) -> int:
        """What this host's kernel still means to send to Spotify, processes gone included."""
        port_lines = Path(f"/proc/{self._holder.pid}/net/tcp").read_text().splitlines()[1:]
        to = "{:02X}{:02X}{:02X}{:02X}".format(*reversed([int(x) for x in SPOTIFY.split(".")]))
        return sum(
            int(line.split()[4].partition(":")[0], 16)
            for line in port_lines
            if line.split()[2].startswith(f"{to}:")
        )

    def _plug(self, cable: str) -> str:
        return f"{self._network.switch(cable)}{self._number}"

    def _lay(self, cable: str) -> None:
        """Connect this host with the switch, and let the address lead over the cable."""
        network, plug = self._network, self._plug(cable)
        own, server = network.address(cable, self._number), network.address(cable, 1)
        there = ["netns", str(self._holder.pid)]
        network.run("link", "add", plug, "type", "veth", "peer", "name", cable, *there)
        network.run("link", "set", plug, "master", network.switch(cable), "up")
        for words in (
            ["addr", "add", f"{own}/24", "dev", cable],
            ["link", "set", cable, "up"],
            # lo stays down, so that 127.0.0.1 is no address of this host.
            ["route", "add", _CABLES[cable], "via", server, "dev", cable, "src", own],
        ):
            subprocess.run([*self.prefix, *network.ip, *words], check=True)
        _admit_loopback_addresses(cable, self.prefix)


@contextmanager
def network() -> Iterator[Network]:
    """Switches for some hosts, until the end of the block. Raises CannotHaveHosts."""
    if os.geteuid() != 0:
        raise CannotHaveHosts("network namespaces and cables between them need root")
    try:
        ip = debian.find_or_fetch("ip", package="iproute2")
    except debian.Unavailable as reason:
        raise CannotHaveHosts(f"ip: {reason}") from None
    made = Network(ip)
    with ExitStack() as stack:
        for cable in _CABLES:
            switch = made.switch(cable)
            made.run("link", "add", switch, "type", "bridge")
            stack.callback(made.run, "link", "del", switch)
            made.run("addr", "add", f"{made.address(cable, 1)}/24", "dev", switch)
            made.run("link", "set", switch, "up")
            _admit_loopback_addresses(switch, [])
        yield made


def _admit_loopback_addresses(device: str, prefix: list[str]) -> None:
    """Linux drops packets with such addresses that come over a cable, unless it may not."""
    path = f"/proc/sys/net/ipv4/conf/{device}/route_localnet"
    ended = subprocess.run(
        [*prefix, "sh", "-c", f"echo 1 > {path}"], capture_output=True, text=True, check=False
    )
    if ended.returncode:
        raise CannotHaveHosts(f"{path}: {ended.stderr.strip()}")
