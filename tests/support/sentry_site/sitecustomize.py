"""On PYTHONPATH, this makes a process report to the Sentry that SENTRY_DSN names, as by default."""

import sentry_sdk

sentry_sdk.init()
