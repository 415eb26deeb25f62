"""What a sweep does about webhooks: hand notices out, and enqueue a task for what is due."""

import time
from uuid import UUID

from celery import current_app

from spotify_auth import queues
from spotify_auth.celery_settings import WEBHOOKS
from spotify_auth.time_limit import limited

IN_FLIGHT = 2
"""Deliveries to one address at the same time."""
IN_FLIGHT_IN_ALL = 8
"""Deliveries of all workers at the same time. Each holds a worker's thread, for 15 s if nobody
answers: lanes need the others."""
_AT_ONCE = 1000
HAND_OUT_SECONDS = 5.0
"""After this long a sweep leaves the rest to the next one: a mass refusal is a million notices, and
whoever sweeps without beat must come to the next sweep."""

# A delivery's constraint makes it once for each address, also when two sweeps meet.
_HAND_OUT = """
WITH picked AS (
    SELECT id, kind FROM spotify_auth_notice WHERE NOT handed_out
    ORDER BY at LIMIT %s FOR UPDATE SKIP LOCKED
), marked AS (
    UPDATE spotify_auth_notice AS notice SET handed_out = true
    FROM picked WHERE notice.id = picked.id
), made AS (
    INSERT INTO spotify_auth_webhookdelivery (notice_id, endpoint_id)
    SELECT picked.id, endpoint.id
    FROM picked JOIN spotify_auth_webhookendpoint AS endpoint
        ON endpoint.status = 'enabled' AND picked.kind = ANY (endpoint.kinds)
    ON CONFLICT DO NOTHING
)
SELECT count(*) FROM picked
"""
_DUE = """
SELECT id, (
    SELECT count(*) FROM (
        SELECT FROM spotify_auth_webhookdelivery AS delivery
        WHERE delivery.endpoint_id = endpoint.id AND status = 'waiting' AND next_at <= now()
        LIMIT %s
    ) AS few
)
FROM spotify_auth_webhookendpoint AS endpoint WHERE status = 'enabled' ORDER BY random()
"""


def dispatch() -> None:
    """Hand out what is new, and enqueue deliveries. Raises django.db.Error and BrokerError."""
    give_up = time.monotonic() + HAND_OUT_SECONDS
    while _hand_out_some() == _AT_ONCE and time.monotonic() < give_up:
        pass
    wanted = [endpoint for endpoint, due in _due() for _ in range(due)]
    if wanted:
        # There shall not be more and more tasks that no worker has taken.
        queue = queues.of_task(WEBHOOKS)
        least = 1 if queues.is_shared(queue) else 0  # where others' tasks count too
        for endpoint in wanted[: max(least, IN_FLIGHT_IN_ALL - queues.waiting(queue))]:
            current_app.send_task(WEBHOOKS, args=[str(endpoint)], retry=False)


def _hand_out_some() -> int:
    with limited() as cursor:
        cursor.execute(_HAND_OUT, [_AT_ONCE])
        count: int = cursor.fetchone()[0]
    return count


def _due() -> list[tuple[UUID, int]]:
    """Each address that is sent to, in no order, with the tasks that it can use."""
    with limited() as cursor:
        cursor.execute(_DUE, [IN_FLIGHT])
        return [(endpoint, due) for endpoint, due in cursor.fetchall()]
