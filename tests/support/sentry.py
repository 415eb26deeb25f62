"""A real Sentry client with its defaults, whose events stay here."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport


class Kept(Transport):
    """Keeps what would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.envelopes: list[str] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        """Keep an envelope as it would go over the wire."""
        self.envelopes.append(envelope.serialize().decode(errors="replace"))

    @property
    def text(self) -> str:
        """All that would have been sent."""
        return "\n".join(self.envelopes)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The error events."""
        lines = [line for text in self.envelopes for line in text.splitlines()]
        parsed = [json.loads(line) for line in lines if line.startswith("{")]
        return [each for each in parsed if "exception" in each or "logentry" in each]


@contextmanager
def reporting(**options: Any) -> Iterator[Kept]:
    """Report to Sentry meanwhile, with its defaults but for `options`."""
    kept = Kept()
    before = sentry_sdk.get_global_scope().client
    sentry_sdk.init(dsn="http://key@127.0.0.1:9/1", transport=kept, **options)
    try:
        yield kept
    finally:
        sentry_sdk.get_client().close(timeout=0)
        sentry_sdk.get_global_scope().set_client(before)
