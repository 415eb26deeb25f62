"""The project: its settings, Django's system checks, the redirect URI, how it is deployed."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.core.checks import ERROR, WARNING, CheckMessage, Tags, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.http.request import validate_host

from spotify_auth import conf
from spotify_auth.conf import settings
from spotify_auth.doctor.findings import Finding, Level, ok, problem, warning
from spotify_auth.doctor.redaction import address
from spotify_auth.redirect_uri import redirect_uri, view_of

_SECRET = re.compile(r"SECRET|PASSWORD|KEY|TOKEN")
_ABOUT_THE_REDIRECT_URI = {"spotify_auth.E006", "spotify_auth.E007"}


def look_at_settings() -> Iterator[Finding]:
    """Every setting as it is in force. A secret is only said to be there."""
    shown = {name: _shown(name) for name in (*conf.REQUIRED, *conf.DEFAULTS)}
    missing = [name for name in conf.REQUIRED if shown[name] == "not set"]
    given = {name for name in shown if _is_given(name)}
    # A project that reads its settings from somewhere knows more: others, and those in files.
    for name, (text, origin) in getattr(django_settings, "SETTINGS_SHOWN", {}).items():
        shown[name] = f"{text}, from a file" if origin == "file" else text
        given = given - {name} if origin == "default" else given | {name}
    said = f"{len(given)} settings are given, {len(shown) - len(given)} are the defaults."
    yield Finding(
        level=Level.PROBLEM if missing else Level.OK,
        found=f"{', '.join(missing)}: missing. {said}" if missing else said,
        advice="Set what is missing: `.env.example` says what each is." if missing else "",
        facts={name: shown[name] for name in sorted(given)},
        more={name: shown[name] for name in sorted(shown) if name not in given},
    )


def _is_given(name: str) -> bool:
    return getattr(django_settings, name, None) not in (None, conf.DEFAULTS.get(name))


def _shown(name: str) -> str:
    try:
        value = getattr(settings, name)
    except ImproperlyConfigured:
        return "not set"
    if callable(value):
        return f"the function {value.__module__}.{value.__qualname__}"
    if isinstance(value, bool | int | float):
        return str(value)
    if _SECRET.search(name):
        return "set" if value else "not set"
    if name.endswith("_URL") and value and "://" in value:
        return address(value)
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return str(value or "not set")


def look_at_system_checks() -> Iterator[Finding]:
    """`manage.py check`, each message a line."""
    messages = [
        each
        for each in run_checks()
        if each.level >= WARNING
        and not each.is_silenced()
        and each.id not in _ABOUT_THE_REDIRECT_URI
    ]
    yield from map(_from_message, messages)
    if not messages:
        yield ok("Django's system checks find nothing.")


def _from_message(message: CheckMessage) -> Finding:
    return Finding(
        level=Level.PROBLEM if message.level >= ERROR else Level.WARNING,
        found=f"{message.id}: {message.msg}",
        advice=message.hint or "Run `manage.py check`.",
    )


def look_at_redirect_uri() -> Iterator[Finding]:
    """Spotify takes it, a route here answers it, and the site serves its host."""
    uri = settings.SPOTIFY_REDIRECT_URI
    try:
        redirect_uri(uri)
    except ValueError as error:
        yield problem(
            f"Spotify does not take {uri}: {error}.",
            "Use https, or http on 127.0.0.1 or [::1]; no query. Register the same there.",
        )
        return
    if view_of(uri) is None:
        yield problem(
            f"No route here answers {uri}.",
            'Name the path at which "spotify_auth.urls" has its callback.',
        )
        return
    host = urlsplit(uri).hostname or ""
    served = f"[{host}]" if ":" in host else host
    if not (django_settings.DEBUG or validate_host(served, django_settings.ALLOWED_HOSTS)):
        yield problem(
            f"The site does not serve {served}, to which Spotify sends users back.",
            f"Add {served} to ALLOWED_HOSTS.",
        )
        return
    yield ok(f"{uri} can work. Register exactly this in the Developer Dashboard.")


def look_at_site() -> Iterator[Finding]:
    """DEBUG, OPERATIONS_TOKEN and what `check --deploy` would say."""
    if django_settings.DEBUG:
        said = "DEBUG is on: error pages show code, and each query is kept."
        advice = "Set DEBUG=false, unless this is your own machine."
        yield problem(said, advice) if settings.HTTPS else warning(said, advice)
    token = (
        "programs with OPERATIONS_TOKEN may ask /metrics and /readyz?verbose"
        if settings.OPERATIONS_TOKEN
        else "OPERATIONS_TOKEN is not set, so no program may ask /metrics or /readyz?verbose"
    )
    # Those that `manage.py check` shows anyway have a line already.
    every_day = {each.id for each in run_checks(tags=[Tags.security])}
    deployed = run_checks(tags=[Tags.security], include_deployment_checks=True)
    messages = [
        each
        for each in deployed
        if each.level >= WARNING and not each.is_silenced() and each.id not in every_day
    ]
    ids = ", ".join(sorted(str(each.id) for each in messages))
    if not messages:
        yield ok(f"`check --deploy` finds nothing; {token}.")
    elif not settings.HTTPS:
        yield ok(
            f"A site for this machine only, since the redirect URI has no https; {token}.",
            check_deploy=ids,
        )
    else:
        yield warning(
            f"`check --deploy` warns of {ids}; {token}.",
            "Run `manage.py check --deploy`: it says what each is about.",
        )
