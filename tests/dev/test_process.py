"""Ports for servers that are about to start."""

import sys
from pathlib import Path

import pytest

from dev.process import free_port


@pytest.mark.skipif(sys.platform != "linux", reason="Linux says which ports it gives away")
def test_a_free_port_is_none_that_the_system_gives_to_somebody_else_meanwhile() -> None:
    lowest, _ = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()

    assert all(1024 < free_port() < int(lowest) for _ in range(20))
