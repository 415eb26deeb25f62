"""POST /api/token: the token endpoint of the Accounts service."""

from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hmac import compare_digest

from aiohttp import web

from .exchange import Exchange, TokenError
from .forms import FormError, read_form
from .memory import MEMORY
from .state import Account, Settings, State
from .token_faults import strike_after, strike_before

_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}  # RFC 6749 5.1


async def token(request: web.Request) -> web.Response:
    """Exchange an authorization code or a refresh token for a pair of tokens."""
    memory = request.app[MEMORY]
    try:
        form = await read_form(request)
        _authenticate_client(request.headers.get("Authorization"), form, memory.settings)
        exchange = Exchange(memory.state, memory.faults, form)
    except TokenError as error:
        return _refused(error)
    except FormError as error:
        return _refused(TokenError("invalid_request", error.message, error.status))
    account = exchange.account()
    if exchange.is_refresh:
        memory.state.totals.refreshes_attempted += 1
        if account:
            account.counters.refreshes_attempted += 1
    with _in_flight(request, memory.state, account):
        early = await strike_before(request, memory.faults, account)
        if early is not None:
            if early.status == web.HTTPTooManyRequests.status_code:
                memory.state.totals.rate_limited += 1
                if account:
                    account.counters.rate_limited += 1
            return early
        answer = _carry_out(exchange, account)
        return await strike_after(request, exchange, account, answer)


def _carry_out(exchange: Exchange, account: Account | None) -> web.Response:
    try:
        if fault := exchange.faults.take("invalid_client", account):
            description, status = fault.parameters["error_description"], fault.parameters["status"]
            raise TokenError("invalid_client", description, status)
        if fault := exchange.faults.take("false_invalid_grant", account):
            raise TokenError("invalid_grant", fault.parameters["error_description"])
        return web.json_response(exchange.carry_out(), headers=_NO_STORE)
    except TokenError as error:
        if error.error == "invalid_grant":
            exchange.state.totals.invalid_grants += 1
            if account:
                account.counters.invalid_grants += 1
        return _refused(error)


def _authenticate_client(
    authorization: str | None, form: Mapping[str, str], settings: Settings
) -> None:
    """The client's id and secret, by HTTP Basic or in the body (RFC 6749 2.3.1).

    Both at once are right if they agree, against the RFC: the logins of social-auth do that at
    Spotify. There is no third way: what is issued with the secret is refreshed with it.
    """
    if authorization is None:
        _check_client(
            form.get("client_id", "").encode(), form.get("client_secret", "").encode(), settings
        )
        return
    client_id, client_secret = _from_header(authorization)
    _check_client(client_id, client_secret, settings)
    _check_client(
        form.get("client_id", settings.client_id).encode(),
        form.get("client_secret", settings.client_secret).encode(),
        settings,
    )


def _from_header(authorization: str) -> tuple[bytes, bytes]:
    """Id and secret; empty ones when the header is not of HTTP Basic."""
    scheme, _, encoded = authorization.partition(" ")
    try:
        given = b64decode(encoded, validate=True) if scheme.lower() == "basic" else b""
    except ValueError:
        given = b""
    client_id, _, client_secret = given.partition(b":")
    return client_id, client_secret


def _check_client(client_id: bytes, client_secret: bytes, settings: Settings) -> None:
    if not compare_digest(client_id, settings.client_id.encode()):
        raise TokenError("invalid_client", "Invalid client")
    if not compare_digest(client_secret, settings.client_secret.encode()):
        raise TokenError("invalid_client", "Invalid client secret")


def _refused(error: TokenError) -> web.Response:
    return web.json_response(error.as_json(), status=error.status, headers=_NO_STORE)


@contextmanager
def _in_flight(request: web.Request, state: State, account: Account | None) -> Iterator[None]:
    """Count the exchanges that are in progress at the same moment.

    For an account a connection that the client has closed no longer counts: a client that
    gave up and tries again has one exchange in flight, not two.
    """
    state.exchanges_in_flight += 1
    totals = state.totals
    totals.in_flight_max = max(totals.in_flight_max, state.exchanges_in_flight)
    transport = request.transport
    if account and transport:
        account.exchanging = {other for other in account.exchanging if not other.is_closing()}
        account.exchanging.add(transport)
        counters = account.counters
        counters.in_flight_max = max(counters.in_flight_max, len(account.exchanging))
    try:
        yield
    finally:
        state.exchanges_in_flight -= 1
        if account and transport:
            account.exchanging.discard(transport)
