"""System checks: `manage.py check` names settings with which tokens could not be kept fresh."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from celery import current_app
from django.apps import AppConfig
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, ProgrammingError, connections, transaction
from django.db.utils import load_backend
from django.template import TemplateDoesNotExist
from django.template.loader import get_template

from spotify_auth import client_address, conf, project_checks, queues, scope_checks
from spotify_auth.celery_settings import LANE, SWEEP
from spotify_auth.conf import settings
from spotify_auth.encryption import keys_of
from spotify_auth.hosts import is_private
from spotify_auth.maintenance import key_counts
from spotify_auth.redirect_uri import redirect_uri, view_of
from spotify_auth.schedule import slack_problems
from spotify_auth.text import is_visible

SHORTEST_TOKEN = 16
"""Characters of OPERATIONS_TOKEN that nobody guesses."""
_NONE = "django.db.backends.dummy"
"""Django's engine for a project that has no database."""


def register_all() -> None:
    """Register every check of this app, when the app is ready."""
    for check in (
        check_slack,
        check_required,
        check_keys,
        check_database,
        check_redirect_uri,
        check_trusted_proxies,
        check_operations_token,
        check_asgi,
        check_base_template,
        check_schedule,
        check_routes,
        project_checks.check_numbers,
        project_checks.check_addresses,
        project_checks.check_time_zones,
        project_checks.check_session_cookie,
        project_checks.check_routers,
        project_checks.check_other_databases,
        scope_checks.check_setting,
        scope_checks.check_views,
        scope_checks.check_logins,
    ):
        register(check)
    register(check_connections, Tags.database)
    register(check_stored_keys, Tags.database)
    register(check_transport, Tags.security, deploy=True)
    register(check_proxy, Tags.security, deploy=True)


def check_slack(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E001: the settings leave a refresh too little time before the token expires.

    The product refuses such an environment when it reads its settings; this check is for
    projects that set the values in Python.
    """
    if project_checks.check_numbers(app_configs):
        return []  # E013 says so
    problems = slack_problems(
        lifetime=settings.ACCESS_TOKEN_LIFETIME_SECONDS,
        sweep=settings.REFRESH_SWEEP_SECONDS,
        deadline=settings.TOKEN_ENDPOINT_DEADLINE_SECONDS,
        minimum=settings.ACCESS_TOKEN_MINIMUM_SECONDS,
    )
    return [
        Error(problem, hint="These are times in seconds.", id="spotify_auth.E001")
        for problem in problems
    ]


def check_required(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E002: a setting without a default is missing; one error for each."""
    errors: list[CheckMessage] = []
    for name in conf.REQUIRED:
        try:
            getattr(settings, name)
        except ImproperlyConfigured as error:
            hint = "Take secrets from the environment: they do not belong into the repository."
            errors.append(Error(str(error), hint=hint, id="spotify_auth.E002"))
    return errors


def check_keys(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E003: TOKEN_ENCRYPTION_KEYS is there, but holds no usable keys."""
    try:
        keys_of(settings.TOKEN_ENCRYPTION_KEYS)
    except ImproperlyConfigured:
        return []  # E002 says so
    except ValueError as error:
        return [
            Error(
                f"TOKEN_ENCRYPTION_KEYS is not usable: {error}.",
                hint="Set it to a list of bytes, 32 in each key, to the same in base64, "
                "separated by commas, or to a function that returns one of these.",
                id="spotify_auth.E003",
            )
        ]
    return []


def check_database(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E004 and E005: the default database cannot do what the row locks need."""
    database = django_settings.DATABASES.get(DEFAULT_DB_ALIAS, {})
    # Another engine may be PostgreSQL too: PostGIS, for example.
    if load_backend(database.get("ENGINE") or _NONE).DatabaseWrapper.vendor != "postgresql":
        return [
            Error(
                "The default database is not PostgreSQL.",
                hint="Tokens are claimed with FOR UPDATE SKIP LOCKED: set ENGINE to "
                "django.db.backends.postgresql.",
                id="spotify_auth.E005",
            )
        ]
    if database.get("OPTIONS", {}).get("server_side_binding"):
        return [
            Error(
                "The default database has the option server_side_binding.",
                hint="A claim sends several statements in one message, which that forbids: "
                "remove it from OPTIONS.",
                id="spotify_auth.E004",
            )
        ]
    return []


def check_redirect_uri(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """E006 and E007: Spotify does not take the redirect URI, or no route here answers its path."""
    try:
        uri = redirect_uri(settings.SPOTIFY_REDIRECT_URI)
    except ImproperlyConfigured:
        return []  # E002 says so
    except ValueError as error:
        return [
            Error(
                f"SPOTIFY_REDIRECT_URI cannot work: {error}.",
                hint="Spotify takes https, or http on 127.0.0.1 or [::1]; no query, no fragment.",
                id="spotify_auth.E006",
            )
        ]
    if view_of(uri) is None:
        return [
            Error(
                "SPOTIFY_REDIRECT_URI cannot work: no route answers its path.",
                hint='Include "spotify_auth.urls", and name the address of its "callback", with '
                "FORCE_SCRIPT_NAME before it if that is set.",
                id="spotify_auth.E007",
            )
        ]
    return []


def check_trusted_proxies(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """E010: TRUSTED_PROXIES names no proxies."""
    try:
        client_address.as_written(settings.TRUSTED_PROXIES)
    except ValueError as error:
        return [
            Error(
                f"TRUSTED_PROXIES is malformed: {error}.",
                hint="Set it to the number of proxies before the site, or to their addresses "
                "and networks: 127.0.0.1, 10.0.0.0/8.",
                id="spotify_auth.E010",
            )
        ]
    return []


def check_asgi(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W030: an ASGI server would leave a connection to PostgreSQL behind at each request."""
    database = django_settings.DATABASES.get(DEFAULT_DB_ALIAS, {})
    is_pooled = bool(database.get("OPTIONS", {}).get("pool"))
    if not getattr(django_settings, "ASGI_APPLICATION", None) or is_pooled:
        return []
    if database.get("CONN_MAX_AGE", 0) == 0:
        return []
    return [
        Warning(
            "ASGI_APPLICATION is set, and the default database keeps its connections without a "
            "pool: each request has a thread of its own, which leaves its connection behind.",
            hint="In the settings of the processes that serve ASGI, set CONN_MAX_AGE to 0 and "
            'OPTIONS["pool"] to {"max_size": 16}, with psycopg[pool] installed. Settings that '
            "workers share should have no ASGI_APPLICATION.",
            id="spotify_auth.W030",
        )
    ]


def check_base_template(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """E008: the template that this app's pages extend is not there."""
    name = settings.SPOTIFY_BASE_TEMPLATE
    try:
        get_template(name)
    except TemplateDoesNotExist as error:
        return [
            Error(
                f"SPOTIFY_BASE_TEMPLATE leads to no template: {error} does not exist.",
                hint="Name a template as {% extends %} would, with the blocks title and content.",
                id="spotify_auth.E008",
            )
        ]
    return []


def check_schedule(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W003, W005: beat is told of no sweep, or of fewer than all else here counts on."""
    schedule = current_app.conf.beat_schedule or {}
    sweeps = [entry for entry in schedule.values() if entry.get("task") == SWEEP]
    if sweeps:
        return [] if project_checks.check_numbers(app_configs) else _too_few(sweeps)
    return [
        Warning(
            f"Celery's beat_schedule has no {SWEEP}: tokens are refreshed later than is safe.",
            hint="Add spotify_auth.celery_settings.beat_schedule() to CELERY_BEAT_SCHEDULE, and "
            "import the Celery application in your project's __init__.py. Silence this if the "
            "schedule is in the database.",
            id="spotify_auth.W003",
        )
    ]


def _too_few(sweeps: Sequence[Mapping[str, Any]]) -> list[CheckMessage]:
    most_often = min(_seconds_between(entry["schedule"]) for entry in sweeps)
    if most_often <= settings.REFRESH_SWEEP_SECONDS:
        return []
    return [
        Warning(
            f"REFRESH_SWEEP_SECONDS is {settings.REFRESH_SWEEP_SECONDS:g}, but Celery's "
            f"beat_schedule has {SWEEP} every {most_often:g} s: workers take sweeps for missed, "
            "and tokens may be refreshed too late.",
            hint="Pass the setting: beat_schedule(REFRESH_SWEEP_SECONDS).",
            id="spotify_auth.W005",
        )
    ]


def _seconds_between(schedule: Any) -> float:
    """The interval of an entry; 0 for a crontab and the like, which have none to compare."""
    every = getattr(schedule, "run_every", schedule)
    if isinstance(every, timedelta):
        return every.total_seconds()
    return every if isinstance(every, int | float) else 0


def check_routes(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W004: lanes wait among all other tasks."""
    queue = queues.of_task(LANE)
    if not queues.is_shared(queue):
        return []
    return [
        Warning(
            f"Celery's task_routes send {LANE} to {queue}, where all other tasks wait too: each "
            "sweep puts up to REFRESH_LANES tasks before them.",
            hint="Add spotify_auth.celery_settings.TASK_ROUTES to CELERY_TASK_ROUTES, and let a "
            "worker read these queues.",
            id="spotify_auth.W004",
        )
    ]


def check_operations_token(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """W013: OPERATIONS_TOKEN can be guessed, or no program can send it."""
    token = settings.OPERATIONS_TOKEN
    if not token or (len(token) >= SHORTEST_TOKEN and is_visible(token) and " " not in token):
        return []
    return [
        Warning(
            f"OPERATIONS_TOKEN is shorter than {SHORTEST_TOKEN} characters, or has some that no "
            "header carries: anybody may guess it, or no program can ask for /metrics.",
            hint="Set it to a long random text: `openssl rand -hex 32`.",
            id="spotify_auth.W013",
        )
    ]


_ENCRYPTED = {"require", "verify-ca", "verify-full"}


def check_proxy(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W012: a proxy is believed about https or the host, and not about the visitors' addresses."""
    proxied = django_settings.SECURE_PROXY_SSL_HEADER or django_settings.USE_X_FORWARDED_HOST
    if not proxied or str(settings.TRUSTED_PROXIES) != "0":
        return []
    return [
        Warning(
            "TRUSTED_PROXIES is 0 behind a proxy: all visitors share the limits of one address.",
            hint="Set it to the number of proxies before the site, or to their addresses.",
            id="spotify_auth.W012",
        )
    ]


def check_transport(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W010 and W011: Redis or PostgreSQL is reached over a network, without TLS.

    Only with `check --deploy`, and no refusal: private networks are common, and some are trusted.
    """
    warnings: list[CheckMessage] = []
    try:
        redis = urlsplit(settings.REDIS_URL)
    except ImproperlyConfigured:
        redis = urlsplit("")  # E002 says so
    if redis.scheme == "redis" and not is_private(redis.hostname or "localhost"):
        warnings.append(
            Warning(
                "REDIS_URL leads over a network without TLS: its password is sent in the clear.",
                hint="Use rediss://, or a host on a private network.",
                id="spotify_auth.W010",
            )
        )
    database = django_settings.DATABASES.get(DEFAULT_DB_ALIAS, {})
    host = str(database.get("HOST") or "")
    encrypted = database.get("OPTIONS", {}).get("sslmode") in _ENCRYPTED
    if host and not host.startswith("/") and not is_private(host) and not encrypted:
        warnings.append(
            Warning(
                "The default database is reached over a network, and TLS is not required.",
                hint="Set sslmode to verify-full, for example DATABASE_URL=postgres://…?"
                "sslmode=verify-full&sslrootcert=system, or use a host on a private network.",
                id="spotify_auth.W011",
            )
        )
    return warnings


_CONNECTIONS = """
SELECT sum(setting::int) FILTER (WHERE name = 'max_connections')
     - sum(setting::int) FILTER (WHERE name <> 'max_connections')
FROM pg_settings
WHERE name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections')
"""


def connections_allowed() -> int:
    """How many connections PostgreSQL takes that are no superuser's. Raises django.db.Error."""
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute(_CONNECTIONS)
        return int(cursor.fetchone()[0])


def check_connections(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """W001: all threads of all processes together are more than PostgreSQL takes.

    Asks PostgreSQL, so only with `check --database default`, and before `migrate`.
    """
    if DEFAULT_DB_ALIAS not in (databases or ()) or check_database(app_configs):
        return []
    if project_checks.check_numbers(app_configs):
        return []  # E013 says so
    most, allowed = settings.MOST_DATABASE_CONNECTIONS, connections_allowed()
    if most <= allowed:
        return []
    return [
        Warning(
            f"Up to {most} connections are opened, and PostgreSQL takes {allowed}.",
            hint="Run workers with fewer threads (--concurrency, or WORKER_CONCURRENCY), raise "
            "PostgreSQL's max_connections, or put a pooler before it.",
            id="spotify_auth.W001",
        )
    ]


def check_stored_keys(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """W002: stored values are encrypted with keys that TOKEN_ENCRYPTION_KEYS lacks.

    Reads every row, a second for a million, so only with `check --database default`, and
    before `migrate`: in time before the processes that would meet these rows.
    """
    if DEFAULT_DB_ALIAS not in (databases or ()) or check_database(app_configs):
        return []
    if check_required(app_configs) or check_keys(app_configs):
        return []  # E002 or E003 says so
    try:
        with transaction.atomic():
            counts = key_counts.count_in_postgresql()
    except ProgrammingError:
        return []  # the tables are yet to be made
    return [
        Warning(
            f"No key opens {count.values} values of {count.place}: they are encrypted with key "
            f"{count.key}, which TOKEN_ENCRYPTION_KEYS lacks.",
            hint="Put the key back into TOKEN_ENCRYPTION_KEYS, behind the first, and run "
            "`manage.py tokens rotate-keys`.",
            id="spotify_auth.W002",
        )
        for count in counts
        if count.state == "missing"
    ]
