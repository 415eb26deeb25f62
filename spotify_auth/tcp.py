"""How TCP connections to Spotify are kept and given up, whatever speaks over them.

A NAT or a load balancer forgets a connection that was idle for some minutes, and answers its
next use with silence or a reset. So one that rested is not used again, and TCP's own probes
keep the others known.

What could not be sent is forgotten at the deadline too. Otherwise the kernel goes on trying for
minutes after the call was given up, and a refresh token that was replaced meanwhile reaches
Spotify when the network is back.
"""

import socket

LONGEST_REST_SECONDS = 60.0
"""A connection that was idle for longer is closed: NATs are known to forget after 350 s."""


def options(total_seconds: float) -> list[tuple[int, int, int]]:
    """What is set on the socket of calls that take this long at most: level, name, value."""
    found = [
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    ]
    for name, value in (
        # Seconds until the first probe and between two, and how many may stay unanswered.
        ("TCP_KEEPIDLE", 30),
        ("TCP_KEEPINTVL", 10),
        ("TCP_KEEPCNT", 3),
        # Milliseconds without an acknowledgement until the kernel gives a connection up.
        ("TCP_USER_TIMEOUT", int(total_seconds * 1000)),
    ):
        if hasattr(socket, name):  # macOS knows other names
            found.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return found
