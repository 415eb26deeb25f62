"""`manage.py doctor` in this process, and what it says. No output may hold a secret."""

import base64
import json
from dataclasses import dataclass
from io import StringIO
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management import call_command
from django.db import connection

from spotify_auth.encryption import keys_of


@dataclass(frozen=True)
class Said:
    """What it wrote, and its exit code."""

    text: str
    code: int

    @property
    def findings(self) -> list[dict[str, Any]]:
        """The findings of a run with --json."""
        found: list[dict[str, Any]] = json.loads(self.text)["findings"]
        return found

    @property
    def bad(self) -> list[tuple[str, str]]:
        """Level and words of what is not ok."""
        bad = [each for each in self.findings if each["level"] != "ok"]
        assert all(each["advice"] for each in bad), "what is wrong comes with what to do"
        return [(each["level"], each["found"]) for each in bad]


def doctor(*arguments: str) -> Said:
    """Run it."""
    out, code = StringIO(), 0
    try:
        call_command("doctor", *arguments, stdout=out, no_color=True)
    except SystemExit as ended:
        code = int(ended.code or 0)
    text = out.getvalue()
    for secret in secrets():
        assert secret not in text
    return Said(text, code)


def diagnose(*names: str) -> Said:
    """Run these checks alone, for `findings` and `bad`."""
    return doctor("--json", *(word for name in names for word in ("--only", name)))


def secrets() -> set[str]:
    """All that may never be shown."""
    texts = {
        settings.SECRET_KEY,
        settings.SPOTIFY_CLIENT_SECRET,
        settings.OPERATIONS_TOKEN,
        str(connection.settings_dict["PASSWORD"]),
        *(urlsplit(str(url)).password for url in (settings.REDIS_URL, settings.CELERY_BROKER_URL)),
        *(base64.b64encode(key).decode() for key in keys_of(settings.TOKEN_ENCRYPTION_KEYS)),
    }
    return {text for text in texts if text}
