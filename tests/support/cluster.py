"""The cluster that tests/cluster starts: its size, its tokens' lifetime, its nodes."""

from pytest_celery import CeleryTestNode

LIFETIME = 12
"""Seconds that an access token of the cluster's sandbox lives."""

WORKERS, BEATS = 3, 2


def has_ended(node: CeleryTestNode) -> bool:
    return bool(node.container.status == "exited")
