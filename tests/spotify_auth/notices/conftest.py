"""What the tests of notices share."""

from collections.abc import Iterator

import pytest

from tests.support.signals import Heard, hearing


@pytest.fixture
def heard() -> Iterator[Heard]:
    with hearing() as heard:
        yield heard
