"""What a call to the Web API returns, and how its body is read."""

from collections.abc import Iterator
from typing import Any, Self

import requests

from spotify_auth.web_api.errors import Unavailable


class SpotifyResponse(requests.Response):
    """A requests.Response whose body raises no error but `Unavailable`."""

    @classmethod
    def of(cls, response: requests.Response) -> Self:
        """The same answer; whichever of the two is closed, both are."""
        answer = cls()
        answer.__dict__.update(response.__dict__)
        return answer

    def json(self, **options: Any) -> Any:
        """The answer's JSON, or None if Spotify has nothing to say.

        That is 204, and a body that is empty, blank or `null`: nothing plays, for example. A
        304 has no body either. Raises Unavailable for a body that is not JSON.
        """
        if not self.content.strip():
            return None
        try:
            return super().json(**options)
        except (ValueError, RecursionError):
            raise Unavailable("not JSON") from None

    def iter_content(self, *args: Any, **options: Any) -> Iterator[Any]:
        """As requests does, for `content`, `text` and `iter_lines` too. Raises Unavailable."""
        try:
            yield from super().iter_content(*args, **options)
        except requests.RequestException:
            # `from None`: the chained error carries the request.
            raise Unavailable("the answer was cut short") from None
