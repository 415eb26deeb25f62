"""The control plane, for tests and load generators: JSON in, JSON out, paths begin with `/__`."""

import json
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiohttp import web

from .authorize import KNOWN_SCOPES
from .exchange import token_answer
from .faults import FaultError
from .memory import MEMORY
from .personas import is_persona_id, persona
from .state import Account, State
from .worlds import WorldError, world_of

_LARGEST_BODY = 64 * 1024 * 1024  # /__connect names users by the hundred thousand
_DASHBOARD_SCOPES = (
    "user-top-read user-read-recently-played user-read-currently-playing playlist-read-private"
)

Handler = Callable[[web.Request], Awaitable[web.Response]]


class ControlError(ValueError):
    """The request makes no sense; the message says why, and the answer is 400."""


def control(handler: Handler) -> Handler:
    """Answer wrong requests with 400 and `{"error": "what is wrong"}`."""

    async def wrapped(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except (ControlError, FaultError, WorldError) as error:
            return web.json_response({"error": str(error)}, status=400)

    return wrapped


@control
async def program_fault(request: web.Request) -> web.Response:
    """{"fault": NAME, "users": [...]?, "times": n?, "share": part?, parameters...}, or an action.

    `share` is the part of the answers that the fault strikes, above 0 and up to 1.
    """
    memory, body = request.app[MEMORY], await _body(request)
    name = body.pop("fault", None)
    if not isinstance(name, str):
        raise ControlError('"fault" must be the name of a fault')
    if name in _ACTIONS:
        return _act(memory.state, name, body)
    users = _users(memory.state, body)
    times = body.pop("times", None)
    if times is not None and (type(times) is not int or times < 1):
        raise ControlError('"times" must be a whole number from 1')
    share = body.pop("share", 1.0)
    if type(share) not in (int, float) or not 0 < share <= 1:
        raise ControlError('"share" must be a number above 0 and up to 1')
    chosen = None if users is None else frozenset(account.persona_id for account in users)
    fault = memory.faults.program(name, body, users=chosen, times=times, share=share)
    return web.json_response(fault.as_json(), status=201)


@control
async def list_faults(request: web.Request) -> web.Response:
    return web.json_response({"faults": request.app[MEMORY].faults.as_json()})


@control
async def clear_faults(request: web.Request) -> web.Response:
    """No faults any more; held answers are let go."""
    request.app[MEMORY].faults.clear()
    return web.json_response({"faults": []})


@control
async def release(request: web.Request) -> web.Response:
    """Let go every answer that is being held now; a `hold` still in force holds the next."""
    return web.json_response({"released": request.app[MEMORY].faults.release()})


@control
async def reset(request: web.Request) -> web.Response:
    """{"world": NAME?}: forget everything; without a name, in the world of the command line."""
    memory, body = request.app[MEMORY], await _body(request)
    name = body.pop("world", None)
    if name is not None and not isinstance(name, str):
        raise ControlError('"world" must be the name of a world')
    _no_more(body)
    memory.reset(None if name is None else world_of(name))
    return web.json_response({"reset": True, "world": memory.state.settings.world})


@control
async def act(request: web.Request) -> web.Response:
    """POST /__revoke, /__expire_refresh_token, /__expire_access_tokens {"users": [...]?}."""
    action = request.match_info["action"]
    return _act(request.app[MEMORY].state, action, await _body(request))


@control
async def connect(request: web.Request) -> web.Response:
    """{"users": [...], "scope": "..."?}: log in without the dance; token answers by persona."""
    state, body = request.app[MEMORY].state, await _body(request)
    accounts = _users(state, body)
    scope = body.pop("scope", _DASHBOARD_SCOPES)
    if not accounts:
        raise ControlError('"users" must name at least one user')
    if not isinstance(scope, str) or not KNOWN_SCOPES.issuperset(scope.split()):
        raise ControlError('"scope" must be a string of known scopes')
    _no_more(body)
    return web.json_response({"users": {a.persona_id: _connect(state, a, scope) for a in accounts}})


@control
async def stats(request: web.Request) -> web.Response:
    """Totals, and counts by persona; `?user=` (repeatable) filters, and empty means totals only."""
    memory = request.app[MEMORY]
    state = memory.state
    wanted: Iterable[Account] = state.accounts.values()
    if "user" in request.query:
        names = set(request.query.getall("user"))
        wanted = [a for a in wanted if a.persona_id in names or a.account_id in names]
    return web.json_response(
        {
            "world": state.settings.world,
            "seconds": round(time.monotonic() - state.started_at, 4),
            "held": memory.faults.exchanges.held,
            "in_flight": state.exchanges_in_flight,
            "dead_tokens_shown": state.dead_tokens_shown,
            "answers_spoiled": state.answers_spoiled,
            "totals": {**state.totals.as_json(), "users": len(state.accounts)},
            "users": {a.persona_id: _account_stats(state, a) for a in wanted},
        }
    )


def _account_stats(state: State, account: Account) -> dict[str, Any]:
    return {
        "account_id": account.account_id,
        "generation": account.grants[-1].generation if account.grants else 0,
        "refresh_token": state.digest_of_refresh_token(account),
        **account.counters.as_json(),
        "refresh_times": list(account.counters.refresh_times),
    }


def _connect(state: State, account: Account, scope: str) -> dict[str, Any]:
    account.approved_scopes = (account.approved_scopes or frozenset()) | set(scope.split())
    return {
        **token_answer(state, state.new_grant(account, scope)),
        "account_id": account.account_id,
        "id": account.persona_id,
        "display_name": persona(account.persona_id).display_name,
    }


def _revoke(state: State, account: Account, options: dict[str, Any]) -> None:
    state.revoke(account, access_tokens=options["access_tokens"])


def _expire_refresh_token(state: State, account: Account, _options: dict[str, Any]) -> None:
    state.expire_refresh_tokens(account)


def _expire_access_tokens(state: State, account: Account, _options: dict[str, Any]) -> None:
    state.expire_access_tokens(account)


_ACTIONS: dict[str, tuple[Callable[[State, Account, dict[str, Any]], None], dict[str, bool]]] = {
    "revoke": (_revoke, {"access_tokens": False}),
    "expire_refresh_token": (_expire_refresh_token, {}),
    "expire_access_tokens": (_expire_access_tokens, {}),
}
"""Things that happen at once and for good, with their flags and defaults."""

ACTION_NAMES = tuple(_ACTIONS)


def _act(state: State, name: str, body: dict[str, Any]) -> web.Response:
    action, defaults = _ACTIONS[name]
    users = _users(state, body)
    accounts = list(state.accounts.values()) if users is None else users
    options = {flag: body.pop(flag, default) for flag, default in defaults.items()}
    if not all(isinstance(value, bool) for value in options.values()):
        raise ControlError(f"{', '.join(options)} must be true or false")
    _no_more(body)
    for account in accounts:
        action(state, account, options)
    return web.json_response({"users": [account.persona_id for account in accounts]})


def _users(state: State, body: dict[str, Any]) -> list[Account] | None:
    """The accounts that `users` names, by persona id or account id; None means everyone."""
    names = body.pop("users", None)
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ControlError('"users" must be a list of persona ids or account ids')
    return [_account(state, name) for name in names]


def _account(state: State, name: str) -> Account:
    if name in state.account_ids:
        return state.account_ids[name]
    if not is_persona_id(name):
        raise ControlError(f"no such user: {name!r}")
    return state.account(name)


def _no_more(body: dict[str, Any]) -> None:
    if body:
        raise ControlError(f"unknown parameters: {', '.join(sorted(body))}")


async def _body(request: web.Request) -> dict[str, Any]:
    """The JSON object of the request; nothing at all counts as an empty one."""
    try:
        text = await request.clone(client_max_size=_LARGEST_BODY).text()
        body = json.loads(text) if text else {}
    except ValueError:
        raise ControlError("the body must be JSON") from None
    if not isinstance(body, dict):
        raise ControlError("the body must be a JSON object")
    return body
