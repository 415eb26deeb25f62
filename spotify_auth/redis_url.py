"""One address of Redis, REDIS_URL, in the spelling of each of its two readers.

redis-py and Celery (kombu) read the same address differently: a socket has another scheme,
a number of a database another place, and for a certificate that nobody vouches for each has
a word of its own. Without a word Celery verifies no certificate at all.
"""

from collections.abc import Mapping
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

SCHEMES = {"redis", "rediss", "unix", "redis+socket"}
_CERT_REQS = {"none", "optional", "required"}


def parse(url: str) -> str:
    """The address as it is written. Raises ValueError, with words, for what is no usable one."""
    scheme = urlsplit(url).scheme
    if scheme == "sentinel":
        raise ValueError("Sentinel is not supported: name the primary, or a proxy before it")
    if scheme not in SCHEMES:
        raise ValueError("not Redis")
    _cert_reqs(_query(url))
    return url


def for_redis(url: str) -> str:
    """The address as redis-py reads it. Raises ValueError."""
    parts, query = urlsplit(url), _query(url)
    if parts.scheme in {"unix", "redis+socket"}:
        query["db"] = query.pop("virtual_host", query.get("db", "0")).strip("/")
        return _joined("unix", parts, query)
    if parts.scheme == "rediss":
        query["ssl_cert_reqs"] = _cert_reqs(query)
    return _joined(parts.scheme, parts, query)


def for_celery(url: str) -> str:
    """The address as Celery reads it. Raises ValueError."""
    parts, query = urlsplit(for_redis(url)), _query(for_redis(url))
    if parts.scheme == "unix":
        query["virtual_host"] = query.pop("db")
        return _joined("redis+socket", parts, query)
    if "db" in query:
        parts = parts._replace(path=f"/{query.pop('db')}")
    return _joined(parts.scheme, parts, query)


def _query(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


def _joined(scheme: str, parts: SplitResult, query: Mapping[str, str]) -> str:
    # `urlunsplit` leaves out the slashes of a scheme that it does not know.
    address = f"{scheme}://{parts.netloc}{parts.path}"
    return f"{address}?{urlencode(query)}" if query else address


def _cert_reqs(query: Mapping[str, str]) -> str:
    """`none`, `optional` or `required`, also for Celery's `CERT_NONE` and so on."""
    word = query.get("ssl_cert_reqs", "required").lower().removeprefix("cert_")
    if word not in _CERT_REQS:
        raise ValueError("ssl_cert_reqs is none, optional or required")
    return word
