"""Figures of the real service that the simulation cannot know: measured, not assumed.

By `make bench`, on 2 cores that carried the service, the sandbox, PostgreSQL and Redis.
"""

DATABASE_PER_SECOND = 6000
"""Lock, update and commit of one row, on one PostgreSQL without other load."""
WORKER_CPU_SECONDS = 0.0011
"""Of one worker core, for one refresh by a lane."""
WAL_BYTES_WARM, WAL_BYTES_COLD = 1200, 12_200
"""WAL of one refresh: its pages already written since the last checkpoint, or none."""
HISTORY_BYTES_A_DAY = 470
"""What the history of a user grows by in a day, before anything is deleted."""
HISTORY_BYTES = 8300
"""The history of a user once it is deleted as fast as it grows, with its share of the indexes."""
TOKEN_BYTES = 639
"""One token of the sandbox with its share of the indexes, without free space."""
