"""Answers that go wrong below HTTP: lost, reset, or dripped a byte at a time."""

import asyncio
import socket
import struct

from aiohttp import web

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close() sends RST


def drop_connection(request: web.Request) -> web.Response:
    """Close the connection without a word."""
    if request.transport is not None:
        request.transport.abort()
    return _nobody_reads_this()


def reset_connection(request: web.Request) -> web.Response:
    """Close the connection with a TCP reset."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        request.transport.abort()
    return _nobody_reads_this()


async def drip(
    request: web.Request, response: web.Response, *, interval: float, headers: bool
) -> web.Response:
    """Send the response one byte every `interval` seconds, until done or the client has left.

    Each byte restarts a client's read timeout, so only a total deadline ends this early.
    With `headers` the status line and headers drip too: a client that times the body
    alone never gets to see one.
    """
    transport = request.transport
    head, body = _serialised(response)
    if transport is None:
        return _nobody_reads_this()
    if not headers:
        transport.write(head)
    for byte in head + body if headers else body:
        if transport.is_closing():
            break
        transport.write(bytes((byte,)))
        await asyncio.sleep(interval)
    transport.close()
    return _nobody_reads_this()


def _serialised(response: web.Response) -> tuple[bytes, bytes]:
    body = response.body
    assert isinstance(body, bytes)  # noqa: S101 - every answer of the token endpoint is
    lines = [f"HTTP/1.1 {response.status} {response.reason}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode(), body


def _nobody_reads_this() -> web.Response:
    """aiohttp wants a response even when the connection is gone; it is not sent."""
    return web.Response()
