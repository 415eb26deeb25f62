"""On PYTHONPATH, this makes a process trust one authority only: that of BENCHMARK_AUTHORITY.

The service takes nothing from the environment but its settings.
"""

import os

import certifi

certifi.where = lambda: os.environ["BENCHMARK_AUTHORITY"]
