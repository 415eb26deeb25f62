"""The faults of the token endpoint, before and after the exchange itself."""

import asyncio
from typing import Literal

from aiohttp import web

from .exchange import Exchange
from .faults import Fault, Faults
from .state import Account
from .wire import drip, drop_connection, reset_connection


async def strike_before(
    request: web.Request, faults: Faults, account: Account | None
) -> web.Response | None:
    """The faults that strike before anything is done; None lets the exchange go on."""
    if refusal := faults.refuse("limit", account):
        return rate_limited(refusal.retry_after)
    if fault := faults.take("latency", account):
        await asyncio.sleep(fault.delay())
    await _hold(faults, account, "before")
    if faults.take("connection_reset", account):
        return reset_connection(request)
    if fault := faults.take("slow_drip", account, lambda given: not given["rotate"]):
        return await _drip(request, fault, _unavailable(503, "upstream request timeout"))
    if fault := faults.take("rate_limited", account):
        return rate_limited(fault.parameters["retry_after"])
    if fault := faults.take("unavailable", account):
        return _unavailable(fault.parameters["status"], fault.parameters["body"])
    if fault := faults.take("garbage", account):
        return web.Response(
            status=fault.parameters["status"],
            body=fault.parameters["body"].encode(),
            headers={"Content-Type": fault.parameters["content_type"]},
        )
    return None


async def strike_after(
    request: web.Request, exchange: Exchange, account: Account | None, answer: web.Response
) -> web.Response:
    """The faults that strike when the exchange is done and only the answer is missing."""
    faults, succeeded = exchange.faults, answer.status == 200
    if fault := faults.take("latency_after_rotating", account):
        await asyncio.sleep(fault.delay())
    await _hold(faults, account, "after")
    if faults.take("answer_lost", account):
        if succeeded:
            exchange.spoil_answer()
        return drop_connection(request)
    if fault := faults.take("slow_drip", account, lambda given: bool(given["rotate"])):
        if succeeded:
            exchange.spoil_answer()
        return await _drip(request, fault, answer)
    return answer


def rate_limited(retry_after: str | None) -> web.Response:
    """429; Retry-After is seconds, but has been seen absent, 0 and larger than a day."""
    return web.json_response(
        {"error": {"status": 429, "message": "API rate limit exceeded"}},
        status=429,
        headers={} if retry_after is None else {"Retry-After": retry_after},
    )


def _unavailable(status: int, body: str) -> web.Response:
    """An outage answers from the proxy in front of Spotify, not in JSON."""
    return web.Response(status=status, body=body.encode(), content_type="text/html")


async def _hold(faults: Faults, account: Account | None, when: Literal["before", "after"]) -> None:
    if faults.take("hold", account, lambda given: given["when"] == when):
        await faults.exchanges.wait()


async def _drip(request: web.Request, fault: Fault, answer: web.Response) -> web.Response:
    return await drip(
        request,
        answer,
        interval=fault.parameters["interval"],
        headers=fault.parameters["headers"],
    )
