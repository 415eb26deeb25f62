"""Whether a row has the newest pair that Spotify gave."""

from spotify_auth import redis_client
from spotify_auth.models import UserId
from spotify_auth.refresh import attempts


def is_unresolved(user_id: UserId, generation: int) -> bool:
    """Whether a newer pair than a row's may exist: an attempt's answer is lost, or not stored yet.

    Ask under the row's lock. Raises redis.RedisError.
    """
    return bool(redis_client.client().exists(*attempts.names_of(user_id, generation)))
