"""A failure that lasts is said twice: when it begins, and when it is over."""


class Lasting:
    """Whether something fails in this process. Threads share it; a torn update costs one line."""

    def __init__(self) -> None:
        self._lasts = False

    def begins(self) -> bool:
        """It has failed; whether that is news."""
        news, self._lasts = not self._lasts, True
        return news

    def ends(self) -> bool:
        """It has worked; whether that is news."""
        news, self._lasts = self._lasts, False
        return news
