"""Places for servers that are started for real."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.testing import temporary_directory


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory with a space in its name, which all users can reach."""
    directory = Path(tempfile.mkdtemp(prefix="a space ", dir=temporary_directory()))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)
