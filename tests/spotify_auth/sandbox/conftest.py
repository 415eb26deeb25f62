from collections.abc import Iterator

import pytest

from tests.support.sandbox_client import Sandbox


@pytest.fixture(scope="session")
def running_sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running_sandbox: Sandbox) -> Sandbox:
    """The one process of the test run, with a fresh memory for each test."""
    running_sandbox.reset()
    return running_sandbox
