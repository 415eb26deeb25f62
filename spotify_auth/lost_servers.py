"""What the loss of PostgreSQL, Redis or the broker raises: nothing of it is a fault of the code."""

import redis
from django.db import Error
from kombu.exceptions import OperationalError as BrokerError

LOST = (Error, BrokerError, redis.RedisError, OSError)
