"""A database that refuses: what kind of fault it is, and how a thread leaves a former primary.

Pages that only read go on while PostgreSQL takes no changes. What they ask for besides (a
nudge, a note of the visit) may fail with any of these faults: it costs a line in the log.
"""

import time
from enum import StrEnum

from django.db import Error, InterfaceError, OperationalError, connection

_READ_ONLY_TRANSACTION = "25006"
_DISK_FULL = "53100"
# Lock not available, statement timeout, deadlock, serialization failure.
_LET_GO = {"55P03", "57014", "40P01", "40001"}


class Fault(StrEnum):
    """Why PostgreSQL did not do what a request wanted. The values are codes for programs."""

    AWAY = "database_away"
    """It does not answer."""
    READ_ONLY = "database_read_only"
    """It takes no changes: a standby, or a full disk."""
    BUSY = "database_busy"
    """Somebody else had locked the same rows for too long."""


def fault_of(error: BaseException | None) -> Fault | None:
    """What kind of fault an error of the database is; None for every other error."""
    if not isinstance(error, Error):
        return None
    code = getattr(error.__cause__, "sqlstate", None)
    if code in {_READ_ONLY_TRANSACTION, _DISK_FULL}:
        return Fault.READ_ONLY
    if code in _LET_GO:
        return Fault.BUSY
    return Fault.AWAY if isinstance(error, OperationalError | InterfaceError) else None


def leave_standby(error: BaseException) -> None:
    """Let this thread connect anew after the request or task, if its server takes no changes.

    After a failover the connection may still lead to the former primary. One of a pool is closed,
    as no other thread shall be given it, unless a transaction is open on it.
    """
    if getattr(error.__cause__, "sqlstate", None) != _READ_ONLY_TRANSACTION:
        return
    connection.close_at = time.monotonic()
    is_pooled = bool(connection.settings_dict["OPTIONS"].get("pool"))
    if is_pooled and connection.connection is not None and not connection.in_atomic_block:
        connection.connection.close()
        connection.close()
