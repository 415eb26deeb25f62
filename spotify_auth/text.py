"""Text from elsewhere."""


def storable(text: str) -> str:
    """Text that UTF-8, and so the database and a page, can hold.

    JSON may carry half of a surrogate pair (an emoji that was cut) and NUL.
    """
    return text.replace("\0", "").encode("utf-8", "replace").decode()
