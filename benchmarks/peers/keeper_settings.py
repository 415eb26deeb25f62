"""This service's own settings; only the pages are the bench's."""

from config.settings import *  # noqa: F403

ROOT_URLCONF = "benchmarks.peers.urls"
