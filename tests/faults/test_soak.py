"""The soak in small: once through every kind of kill and fault, with real processes.

`make soak` does the same for a quarter of an hour. It is a process of its own since it
kills its PostgreSQL and its Redis, which other tests still need.
"""

import re
import subprocess
import sys

import pytest

from dev.process import ROOT, run_step

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]


def test_nobody_pays_for_kills_and_faults_but_with_a_lost_answer() -> None:
    ended = run_step(
        [sys.executable, "-m", "benchmarks.soak", "--short", "--seed", "1"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )

    report = ended.stdout.decode()
    assert ended.returncode == 0, report
    assert "MISSED" not in report
    # It did refresh, and it did break things: a soak of nothing would meet its goals too.
    refreshes = re.search(r"^refreshes: (\d+)", report, re.MULTILINE)
    assert refreshes, report
    assert int(refreshes[1]) > 40
    assert re.search(r"^faults injected: 37$", report, re.MULTILINE), report
