"""How many messages wait in a queue of the broker."""

from typing import cast

from celery import current_app
from kombu import Connection
from kombu.exceptions import ChannelError
from kombu.transport.virtual import Channel


def waiting(queue: str) -> int:
    """Messages that no worker has taken; 0 for a queue that is not there yet.

    Asked for passively: the queue is made by whoever sends or works, with the options of the
    project's own. Raises kombu's OperationalError without a broker.
    """
    with current_app.pool.acquire(block=True) as broker:
        # celery-types takes this pool for one of producers.
        channel = cast(Channel, cast(Connection, broker).default_channel)
        try:
            count: int = channel.queue_declare(queue, passive=True).message_count
        except ChannelError:
            return 0
    return count
