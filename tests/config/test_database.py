"""How soon a PostgreSQL that is gone is noticed, as the operating system has been told."""

import os
import socket

import pytest
from django.db import connection


@pytest.mark.django_db
def test_a_host_that_is_gone_without_a_word_is_noticed_before_its_rows_are_taken() -> None:
    connection.ensure_connection()
    with socket.socket(fileno=os.dup(connection.connection.fileno())) as opened:
        unacknowledged = opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        idle, interval, count = (
            opened.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )

    assert unacknowledged == 5000
    assert idle + interval * count == 11
