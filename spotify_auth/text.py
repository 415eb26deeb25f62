"""Text from elsewhere."""

import re
from typing import TypeGuard

LONGEST_IN_THE_LOG = 200

_SECRET = re.compile(r"[^\s\"']{30,}")
"""Tokens and codes have no spaces; the words of a message are short."""


def storable(text: str) -> str:
    """Text that UTF-8, and so the database and a page, can hold.

    JSON may carry half of a surrogate pair (an emoji that was cut) and NUL.
    """
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def is_visible(value: object) -> TypeGuard[str]:
    """Whether this is a string of visible characters and spaces (RFC 6749, appendix A)."""
    return isinstance(value, str) and value.isascii() and value.isprintable()


def one_line(text: str) -> str:
    """Words that a user typed, or a username, without what would break or hide a line."""
    return " ".join("".join(c if c.isprintable() else " " for c in storable(text)).split())


def for_the_log(text: str) -> str:
    """Somebody else's words as one quoted value of a log line: short, visible, without secrets."""
    visible = "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
    return '"' + _SECRET.sub("...", visible.replace('"', "'"))[:LONGEST_IN_THE_LOG] + '"'
