"""What arrays of users hold."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Users: TypeAlias = NDArray[np.int32]
"""Their numbers, from 0."""
Times: TypeAlias = NDArray[np.float64]
"""Seconds of the simulation."""
