"""gunicorn's settings (https://docs.gunicorn.org/en/stable/settings.html)."""

import os

from config.addresses import bracketed
from config.environment import read_env_file
from config.logs import logging_config

read_env_file()  # as config/settings.py does, which is loaded later

_host = bracketed(os.environ.get("HOST") or "0.0.0.0")  # noqa: S104
bind = f"{_host}:{os.environ.get('PORT') or '8000'}"
workers = int(os.environ.get("WEB_CONCURRENCY") or 2)
threads = int(os.environ.get("WEB_THREADS") or 8)
# Requests are read, and answers are sent, without a thread: a slow visitor stops nobody.
worker_class = "config.web_worker.WebWorker"
# Settings that do not hold stop the process at once, instead of each new worker for ever.
preload_app = True
# It would be a file in the home directory, outside of everything that is ours.
control_socket_disable = True
# Its own lines as everybody's. Each has a level; LOG_LEVEL is the settings' business.
logconfig_dict = logging_config(
    level="INFO", style="json" if os.environ.get("LOG_FORMAT") == "json" else "text"
)
