"""Which addresses of the site are limited, and by whom; and what is answered then."""

import functools
from collections.abc import Callable, Sequence
from http import HTTPStatus
from math import ceil
from typing import Any, TypeAlias, TypeVar, cast

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.cache import add_never_cache_headers

from spotify_auth import htmx, pages, rate_limits
from spotify_auth.client_address import address_block, address_group, client_address
from spotify_auth.conf import settings
from spotify_auth.problems import Problem
from spotify_auth.rate_limits import Limited, Use

View = TypeVar("View", bound=Callable[..., HttpResponseBase])

Rule: TypeAlias = Callable[[HttpRequest], Sequence[Use]]
"""What a request counts towards."""

MINUTE = 60.0
OF_A_BLOCK = 4
"""A /48 of IPv6 may have so many times the limit of an address: it has 65,536 networks of /64."""


def logins(request: HttpRequest) -> Sequence[Use]:
    """Logins that one address begins."""
    return _by_address(request, "logins", settings.RATE_LIMIT_LOGINS)


def callbacks(request: HttpRequest) -> Sequence[Use]:
    """Logins with which one address comes back: each is a call of the token endpoint."""
    return _by_address(request, "callbacks", settings.RATE_LIMIT_LOGINS)


def visits(request: HttpRequest) -> Sequence[Use]:
    """Pages and data that one address asks for."""
    return _by_address(request, "visits", settings.RATE_LIMIT_ADDRESS)


def dashboards(request: HttpRequest) -> Sequence[Use]:
    """Dashboards of one user, as a page or as data: each may be several calls of the Web API."""
    return _by_user(request, "dashboards", settings.RATE_LIMIT_DASHBOARDS)


def tokens(request: HttpRequest) -> Sequence[Use]:
    """Access tokens that one user's pages ask for."""
    return _by_user(request, "tokens", settings.RATE_LIMIT_TOKENS)


def throttled(*rules: Rule, as_json: bool = False) -> Callable[[View], View]:
    """Answer 429 instead of calling the view, while one of the rules' limits is reached.

    Words in a page for browsers, JSON for programs; `as_json`: JSON for all.
    """

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            # A view that calls another one is one request.
            counted: set[Rule] = request.__dict__.setdefault("counted_rules", set())
            news = [rule for rule in rules if rule not in counted]
            counted.update(news)
            try:
                rate_limits.take(*(use for rule in news for use in rule(request)))
            except Limited as limited:
                return _too_many(request, limited, as_json=as_json)
            return view(request, *args, **kwargs)

        return cast(View, wrapper)

    return decorate


def _by_address(request: HttpRequest, name: str, most: int) -> Sequence[Use]:
    if not most:
        return ()
    address = client_address(request)
    # A whole /64 of IPv6 belongs to one customer.
    uses = [Use(name=name, who=address_group(address), most=most, seconds=MINUTE)]
    if block := address_block(address):
        uses.append(Use(name=f"{name}_block", who=block, most=OF_A_BLOCK * most, seconds=MINUTE))
    return uses


def _by_user(request: HttpRequest, name: str, most: int) -> Sequence[Use]:
    if not most or not request.user.is_authenticated:
        return ()
    return (Use(name=name, who=str(request.user.pk), most=most, seconds=MINUTE),)


def _too_many(request: HttpRequest, limited: Limited, *, as_json: bool) -> HttpResponse:
    wait = ceil(limited.retry_after)
    text = f"This was asked for too often. Please try again in {_span(wait)}."
    status = HTTPStatus.TOO_MANY_REQUESTS
    is_part = htmx.is_htmx(request)
    if as_json or ("html" not in request.headers.get("Accept", "") and not is_part):
        return Problem(
            code="too_many_requests", status=status, message=text, retry_after=wait
        ).as_json()
    context = {"text": text, "try_again": request.method == "GET"}
    page = pages.text_of("too_many_requests.html", context)
    response = HttpResponse(page, status=status, headers={"Retry-After": str(wait)})
    add_never_cache_headers(response)
    return response


def _span(seconds: int) -> str:
    return "a second" if seconds == 1 else f"{seconds} seconds"
