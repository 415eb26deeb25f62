"""What a call to the Web API returns, and how its body is read."""

from collections.abc import Iterator
from typing import Any, Self

import requests

from spotify_auth.http_client import LARGEST_ANSWER_BYTES
from spotify_auth.web_api.errors import Unavailable

READ_BYTES = 64 * 1024
"""What is read at once of a stream, for a caller who names no size."""


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

    def iter_content(
        self, chunk_size: int | None = READ_BYTES, decode_unicode: bool = False
    ) -> Iterator[Any]:
        """As requests does, for `content`, `text` and `iter_lines` too.

        Raises Unavailable, also for more than LARGEST_ANSWER_BYTES.
        """
        size = 0
        try:
            # Without a size requests would unpack all of it at once.
            for part in super().iter_content(chunk_size or READ_BYTES, decode_unicode):
                size += len(part)
                if size > LARGEST_ANSWER_BYTES:
                    self.close()
                    raise Unavailable("the answer is too large")
                yield part
        except requests.RequestException:
            # `from None`: the chained error carries the request.
            raise Unavailable("the answer was cut short") from None
