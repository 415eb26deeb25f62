"""Where tasks wait: which queue the project's routes name, and how many messages are in it."""

from typing import Any, cast

from celery import current_app
from kombu import Connection
from kombu.exceptions import ChannelError
from kombu.transport.virtual import Channel


def of_task(name: str) -> str:
    """The name of the queue to which tasks of this name are sent.

    Celery's own `Router.route` would make the queue known to this process, and a worker without
    `--queues` consumes all that it knows.
    """
    route: Any = current_app.amqp.router.lookup_route(name, (), {}, {}, None)
    queue = route if isinstance(route, str) else (route or {}).get("queue")
    return str(getattr(queue, "name", queue) or current_app.conf.task_default_queue)


def is_shared(queue: str) -> bool:
    """Whether tasks without a route wait here too, so that its messages say nothing of one task."""
    return bool(queue == current_app.conf.task_default_queue)


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
