"""Under which keys everything is encrypted that is stored, in PostgreSQL and in Redis."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from spotify_auth import sealed_values
from spotify_auth.encryption import cipher
from spotify_auth.refresh import saved_grants

SAVED_GRANTS = "saved grants in Redis"


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyCount:
    """How many values of one place are under one key."""

    place: str
    head: bytes
    values: int

    @property
    def key(self) -> str:
        """The id of the key, as the log has it."""
        return self.head[1:].hex()

    @property
    def state(self) -> str:
        """What the key is to this process: first, retired or missing."""
        if self.head == cipher().current_head:
            return "first"
        return "retired" if cipher().knows(self.head) else "missing"


@dataclass(frozen=True, slots=True)
class KeyCounts:
    """The counts of every place."""

    counts: list[KeyCount]
    rows_to_do: int
    """Rows and saved grants of which some value is not under the first key."""

    @property
    def not_first(self) -> list[KeyCount]:
        """Those that keep a key from going."""
        return [count for count in self.counts if count.state != "first"]

    @property
    def missing(self) -> list[KeyCount]:
        """Those that no key opens."""
        return [count for count in self.counts if count.state == "missing"]


def count() -> KeyCounts:
    """Count all. Raises django.db.Error, redis.RedisError and ImproperlyConfigured."""
    in_redis = Counter(sealed[: len(cipher().current_head)] for _, sealed in saved_grants.stored())
    of_tables, rows = _count_tables()
    current = cipher().current_head
    grants = sum(values for head, values in in_redis.items() if head != current)
    return KeyCounts([*of_tables, *_counts(SAVED_GRANTS, in_redis)], rows + grants)


def count_in_postgresql() -> list[KeyCount]:
    """Count what is in tables. Raises django.db.Error and ImproperlyConfigured."""
    return _count_tables()[0]


def _count_tables() -> tuple[list[KeyCount], int]:
    found: list[KeyCount] = []
    rows_to_do = 0
    for table in sealed_values.tables():
        rows = table.count_by_heads()
        rows_to_do += sum(
            count for heads, count in rows.items() if set(heads) - {None, cipher().current_head}
        )
        for number, column in enumerate(table.columns):
            values: Counter[bytes] = Counter()
            for heads, count in rows.items():
                if head := heads[number]:
                    values[head] += count
            found += _counts(f"{table.name}.{column.column}", values)
    return found, rows_to_do


def _counts(place: str, values: Mapping[bytes, int]) -> Iterable[KeyCount]:
    for head, number in sorted(values.items()):
        yield KeyCount(place=place, head=head, values=number)
