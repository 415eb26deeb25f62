"""Every setting of the service, from the environment (https://12factor.net/config).

`.env.example` explains each variable; a test holds the two together.
"""

import sys
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from csp.constants import NONE, SELF

from config import logs
from config.addresses import bracketed
from config.environment import (
    Environment,
    Unshown,
    admin_path,
    email_config,
    postgresql_config,
    read_env_file,
    secret_key,
)
from spotify_auth import celery_settings, client_address, redis_url
from spotify_auth.conf import DEFAULTS
from spotify_auth.encryption import parse_keys
from spotify_auth.redirect_uri import redirect_uri
from spotify_auth.schedule import slack_problems
from spotify_auth.webhooks import networks

BASE_DIR = Path(__file__).resolve().parent.parent

read_env_file()
env = Environment(
    defaults=DEFAULTS,
    # Each may be in a file instead: SECRET_KEY_FILE names that of SECRET_KEY.
    secrets={
        "SECRET_KEY",
        "SECRET_KEY_FALLBACKS",
        "TOKEN_ENCRYPTION_KEYS",
        "DATABASE_URL",
        "REDIS_URL",
        "SPOTIFY_CLIENT_SECRET",
        "OUTBOUND_PROXY_URL",
        "EMAIL_URL",
        "OPERATIONS_TOKEN",
    },
)

# --- Secrets and servers ---------------------------------------------------------------

SECRET_KEY = env.parsed(
    "SECRET_KEY", secret_key, placeholder="", expected="50 random characters or more"
)
# A variable of its own, and not a list in SECRET_KEY: a key that has a comma in it stays one key.
SECRET_KEY_FALLBACKS: list[str] = env.parsed(
    "SECRET_KEY_FALLBACKS",
    lambda raw: raw.split(),
    placeholder=[],
    expected="earlier SECRET_KEYs, separated by spaces or line ends",
    default=[],
)
TOKEN_ENCRYPTION_KEYS = env.parsed(
    "TOKEN_ENCRYPTION_KEYS",
    parse_keys,
    placeholder=cast("list[bytes] | str", []),
    expected="base64 of 32 random bytes, several separated by commas, none twice; or to the "
    "dotted path of a function that returns them",
)
DATABASE: dict[str, Any] = env.parsed(
    "DATABASE_URL",
    postgresql_config,
    placeholder={},
    expected="postgres://user:password@host:port/name",
)
REDIS_URL: str = env.parsed(
    "REDIS_URL",
    lambda raw: Unshown(redis_url.parse(raw)),
    placeholder=Unshown("redis://"),
    expected="redis://host:port/number, rediss://… for TLS or unix:///path of the primary "
    "(sentinel:// is not supported; ssl_cert_reqs is none, optional or required)",
)

# --- Spotify ---------------------------------------------------------------------------

SPOTIFY_CLIENT_ID = env.text("SPOTIFY_CLIENT_ID")
SPOTIFY_CLIENT_SECRET = env.text("SPOTIFY_CLIENT_SECRET")
SPOTIFY_REDIRECT_URI = env.parsed(
    "SPOTIFY_REDIRECT_URI",
    redirect_uri,
    placeholder="https://invalid.example",
    expected="https://your.host/spotify/callback/, or http:// on 127.0.0.1 or [::1] "
    '(never "localhost"), without a query',
)
SPOTIFY_ACCOUNTS_URL = env.url("SPOTIFY_ACCOUNTS_URL").rstrip("/")
SPOTIFY_API_URL = env.url("SPOTIFY_API_URL").rstrip("/")
SPOTIFY_SCOPES = env.words("SPOTIFY_SCOPES")
SPOTIFY_CONNECTION_URL = "accounts:connection"
SPOTIFY_BASE_TEMPLATE = "base.html"
OUTBOUND_PROXY_URL: str = Unshown(env.text("OUTBOUND_PROXY_URL"))
WEB_THREADS = env.integer("WEB_THREADS")  # gunicorn reads it too: config/gunicorn.py
ASGI_POOL_SIZE = env.integer("ASGI_POOL_SIZE", 16)  # for config/asgi_settings.py

# --- Keeping tokens fresh (spotify_auth/conf.py has the defaults, and says what each is) --

ACCESS_TOKEN_LIFETIME_SECONDS = env.seconds("ACCESS_TOKEN_LIFETIME_SECONDS")
ACCESS_TOKEN_MINIMUM_SECONDS = env.seconds("ACCESS_TOKEN_MINIMUM_SECONDS")
REFRESH_SWEEP_SECONDS = env.seconds("REFRESH_SWEEP_SECONDS")
REFRESH_LANES = env.integer("REFRESH_LANES")
TOKEN_ENDPOINT_DEADLINE_SECONDS = env.seconds("TOKEN_ENDPOINT_DEADLINE_SECONDS")
OUTAGE_GUARD_REFUSALS = env.integer("OUTAGE_GUARD_REFUSALS")
OUTAGE_GUARD_SHARE = env.share("OUTAGE_GUARD_SHARE")
OUTAGE_GUARD_LONGEST_SECONDS = env.seconds("OUTAGE_GUARD_LONGEST_SECONDS")
REFRESH_DORMANT_AFTER = env.integer("REFRESH_DORMANT_AFTER", minimum=0)
WORKER_MAX_MEMORY_MIB = env.integer("WORKER_MAX_MEMORY_MIB", minimum=0)
TOKEN_EVENT_RETENTION_DAYS = env.integer("TOKEN_EVENT_RETENTION_DAYS")
ROUTINE_EVENT_RETENTION_DAYS = env.integer("ROUTINE_EVENT_RETENTION_DAYS")
ROUTINE_EVENT_DAILY_TABLES = env.flag("ROUTINE_EVENT_DAILY_TABLES")
OPERATIONS_TOKEN = env.text("OPERATIONS_TOKEN")
WEBHOOK_ALLOWED_NETWORKS = env.parsed(
    "WEBHOOK_ALLOWED_NETWORKS",
    networks.as_written,
    placeholder="",
    expected="addresses and networks (127.0.0.0/8, with the host's bits zero), separated by commas",
)

# --- Limits (the same) ---------------------------------------------------------------------

RATE_LIMIT_LOGINS = env.integer("RATE_LIMIT_LOGINS", minimum=0)
RATE_LIMIT_ADDRESS = env.integer("RATE_LIMIT_ADDRESS", minimum=0)
RATE_LIMIT_DASHBOARDS = env.integer("RATE_LIMIT_DASHBOARDS", minimum=0)
RATE_LIMIT_TOKENS = env.integer("RATE_LIMIT_TOKENS", minimum=0)
RATE_LIMIT_WEB_API_CALLS = env.integer("RATE_LIMIT_WEB_API_CALLS", minimum=0)
RATE_LIMIT_CODE_EXCHANGES = env.integer("RATE_LIMIT_CODE_EXCHANGES", minimum=0)
DASHBOARD_KEPT_SECONDS = env.integer("DASHBOARD_KEPT_SECONDS", minimum=0)

# The most connections to PostgreSQL that this deployment opens, for `check --database default`:
# one for each thread, one for each worker's own looks, and five for people and migrations.
WEB_PROCESSES = env.integer("WEB_SERVERS", 1) * env.integer("WEB_CONCURRENCY", 2)
MOST_DATABASE_CONNECTIONS = (
    env.integer("WORKER_PROCESSES", 1) * (env.integer("WORKER_CONCURRENCY", 64) + 1)
    + WEB_PROCESSES * WEB_THREADS
    + 5
)

env.problems += slack_problems(
    lifetime=ACCESS_TOKEN_LIFETIME_SECONDS,
    sweep=REFRESH_SWEEP_SECONDS,
    deadline=TOKEN_ENDPOINT_DEADLINE_SECONDS,
    minimum=ACCESS_TOKEN_MINIMUM_SECONDS,
)

# --- The site --------------------------------------------------------------------------

DEBUG = env.flag("DEBUG", False)
_redirect = urlsplit(SPOTIFY_REDIRECT_URI)
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", bracketed(_redirect.hostname or ""))
# Spotify accepts plain http on a loopback address only, so the redirect URI says
# whether this site is served over https.
HTTPS = _redirect.scheme == "https"
if env.flag("TRUST_X_FORWARDED_PROTO", False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
# Behind a proxy that replaces Host, every form would be refused: its Origin is another one.
USE_X_FORWARDED_HOST = env.flag("TRUST_X_FORWARDED_HOST", False)
TRUSTED_PROXIES = env.parsed(
    "TRUSTED_PROXIES",
    client_address.as_written,
    placeholder="0",
    expected="the number of proxies before this site, or their addresses and networks "
    "(10.0.0.0/8, with the host's bits zero), separated by commas",
)
HSTS_SUBDOMAINS = env.flag("HSTS_SUBDOMAINS", True)
HSTS_PRELOAD = env.flag("HSTS_PRELOAD", False)
if HSTS_PRELOAD and not HSTS_SUBDOMAINS:
    env.problems.append("HSTS_PRELOAD is malformed: browsers preload with HSTS_SUBDOMAINS only.")
# Ten years: no calendar has the day on which a session of a million years ends.
SESSION_DAYS = env.integer("SESSION_DAYS", 90, maximum=3650)
ADMIN_ENABLED = env.flag("ADMIN_ENABLED", True)
ADMIN_PATH = env.parsed(
    "ADMIN_PATH",
    admin_path,
    placeholder="admin/",
    default="admin/",
    expected="a path without a slash at its beginning and with one at its end, such as admin/",
)
ADMIN_SESSION_HOURS = env.integer("ADMIN_SESSION_HOURS", 12)
ADMIN_SECOND_FACTOR = env.parsed(
    "ADMIN_SECOND_FACTOR",
    lambda raw: {"required": "required", "optional": "optional", "off": "off"}[raw],
    placeholder="optional",
    default="optional",
    expected="required, optional or off",
)
OTP_TOTP_ISSUER = "Spotify Token Keeper"
LOG_LEVEL = env.text("LOG_LEVEL", "INFO").upper()
if LOG_LEVEL not in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}:
    env.problems.append("LOG_LEVEL is malformed: DEBUG, INFO, WARNING, ERROR or CRITICAL.")
LOG_FORMAT = env.text("LOG_FORMAT", "text")  # gunicorn reads it too: config/gunicorn.py
if LOG_FORMAT not in logs.FORMATS:
    env.problems.append("LOG_FORMAT is malformed: text or json.")

# Reminders of the six months' end. Without a mail server they are written to the log.
_email: dict[str, Any] = env.parsed(
    "EMAIL_URL",
    email_config,
    placeholder={},
    expected="smtp://host:25 or smtp+tls://user:password@host:587",
    default=email_config("consolemail://"),
)
DEFAULT_FROM_EMAIL = env.text("DEFAULT_FROM_EMAIL", "Spotify Token Keeper <noreply@localhost>")

env.stop_if_wrong()

# For `manage.py doctor`: its checks of this project, and each variable as it may be shown.
DOCTOR_CHECKS = ["accounts.doctor_checks.ADMINISTRATORS"]
SETTINGS_SHOWN = env.shown
# A revoked user is logged out too, whichever way an operator revokes.
AFTER_REVOKING = "accounts.users.log_out"

# --- Django ----------------------------------------------------------------------------

INSTALLED_APPS = [
    "accounts",
    "spotify_auth",
    "django_htmx",
    "accounts.admin_config.KeeperAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "csp",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
]
MIDDLEWARE = [
    "config.request_id.RequestIdMiddleware",
    "config.headers.HeadersMiddleware",
    "spotify_auth.health.HealthMiddleware",
    "spotify_auth.metrics.MetricsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "spotify_auth.database_fault_pages.DatabaseFaultMiddleware",
    "accounts.middleware.OneAddressMiddleware",
    "accounts.previous_cookies.PreviousCookieNamesMiddleware",
    "accounts.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.middleware.LastSeenMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "accounts.locked_out.LockedOutMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "accounts.context.for_staff",
            ],
        },
    },
]

DATABASES = {
    "default": {
        **DATABASE,
        # PostgreSQL's own; a failed connection leaves the password in no error report.
        "ENGINE": "config.postgresql",
        # One connection a thread, kept: a lane must not pay for a new one each time. In a
        # worker config/idle_connections.py closes those of threads without work.
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        # Detect a dead PostgreSQL host within 5 to 11 s, so that a worker can save its grant
        # before another one retries the row.
        "OPTIONS": {
            "connect_timeout": 5,
            "tcp_user_timeout": 5000,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            **DATABASE.get("OPTIONS", {}),
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "accounts:home"
LOGIN_REDIRECT_URL = "accounts:dashboard"
LOGOUT_REDIRECT_URL = "accounts:home"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},  # OWASP ASVS 2.1.1
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
FORMAT_MODULE_PATH = "config.formats"  # Django asks a language's formats before its settings

STATIC_URL = "static/"
STATIC_ROOT = env.text("STATIC_ROOT", str(BASE_DIR / "staticfiles"))
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

globals().update(_email)  # as django-environ has it: EMAIL_BACKEND, EMAIL_HOST, …
EMAIL_TIMEOUT = 10

# --- Security (https://docs.djangoproject.com/en/5.2/topics/security/) ------------------

# Counted from the last day with a visit: accounts.sessions and its middleware prolong it.
SESSION_ENGINE = "accounts.sessions"
SESSION_COOKIE_AGE = SESSION_DAYS * 24 * 3600
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
# A browser takes a cookie with this prefix from this very host by https only: no sibling host,
# and nobody on the network, can plant one (RFC 6265bis, section 4.1.3.2).
SESSION_COOKIE_NAME = "__Host-sessionid" if HTTPS else "sessionid"
CSRF_COOKIE_NAME = "__Host-csrftoken" if HTTPS else "csrftoken"
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HSTS_SUBDOMAINS
SECURE_HSTS_PRELOAD = HSTS_PRELOAD
# To be preloaded is a decision about a whole domain, and takes a form at hstspreload.org.
SILENCED_SYSTEM_CHECKS = ["security.W021"]
X_FRAME_OPTIONS = "DENY"
DEFAULT_EXCEPTION_REPORTER = "config.error_reports.WithoutRequest"
DEFAULT_EXCEPTION_REPORTER_FILTER = "config.error_reports.WithoutVariables"
_picture_sources = (
    ["https://*.scdn.co", "https://*.spotifycdn.com"]
    if SPOTIFY_API_URL == "https://api.spotify.com"
    else [SPOTIFY_API_URL]
)
# The login form is answered by a redirect to Spotify, and Chromium counts each redirect that
# follows as part of the form's action: with a host too few the button does nothing.
_login_hosts = (
    ["https://spotify.com", "https://*.spotify.com"]
    if SPOTIFY_ACCOUNTS_URL == "https://accounts.spotify.com"
    else []
)
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "base-uri": [NONE],
        "connect-src": [SELF],
        "font-src": [SELF],
        "form-action": [SELF, SPOTIFY_ACCOUNTS_URL, *_login_hosts],
        "frame-ancestors": [NONE],
        "img-src": [SELF, *_picture_sources],
        "script-src": [SELF],
        "style-src": [SELF],
    }
}

# --- Celery (https://docs.celeryq.dev/en/stable/userguide/configuration.html) -----------

# Celery spells the same address differently.
CELERY_BROKER_URL = Unshown(redis_url.for_celery(REDIS_URL))
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# Whoever may write to Redis could stop all workers, or read their settings.
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
# For ever: an attempt every two seconds (config/celery.py) soon makes Celery's hundred.
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
# No task here is acknowledged late, so there is none to cancel, and nothing to warn of.
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_WORKER_ENABLE_PREFETCH_COUNT_REDUCTION = False
# A page that nudges while the broker is away must not wait for it: the row is marked
# already, and the next sweep finds it. Workers and beats reconnect on their own terms.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0,
    "socket_connect_timeout": 1,
    # Above the second that a worker's BRPOP may take.
    "socket_timeout": 5,
}
CELERY_TASK_IGNORE_RESULT = True
# Else Celery closes the thread's database connection before and after each task, and a
# lane begins with a log-in to PostgreSQL. CONN_MAX_AGE and config/celery.py see to it.
CELERY_DB_REUSE_MAX = sys.maxsize
CELERY_TASK_DEFAULT_QUEUE = "keeper"
CELERY_TASK_ROUTES = celery_settings.TASK_ROUTES
# Lanes are long: a worker whose threads are all busy leaves the rest to the others, and takes
# its next task when a thread is free (`Threads` in config/celery.py says so). In the settings,
# so that no command of a deployment can forget the option.
CELERY_WORKER_DISABLE_PREFETCH = True
CELERY_WORKER_REDIRECT_STDOUTS = False
# A sweep enqueues what is hourly (spotify_auth/chores.py): nothing needs to be remembered.
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"
CELERY_BEAT_SCHEDULE = celery_settings.beat_schedule(REFRESH_SWEEP_SECONDS)

# --- Logging ---------------------------------------------------------------------------

LOGGING_CONFIG = "config.logs.configure"
LOGGING = logs.logging_config(level=LOG_LEVEL, style=LOG_FORMAT)
