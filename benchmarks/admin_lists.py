"""The admin's lists over a million tokens and a million events: how long a page takes."""

from statistics import median
from time import perf_counter

from django.db import connection
from django.test import Client
from django.test.utils import override_settings

from accounts.models import User
from benchmarks.measurement import Row, milli
from benchmarks.million import million_tokens
from spotify_auth.encryption import cipher
from tests.support.admin import enter_admin

TITLE = "The admin's lists, over a million tokens and a million events"
EVENTS_EACH = 1
TIMES = 3
TARGET_SECONDS = 1.0
"""A whole page with its hundred rows, on a machine that works."""
DATABASE = "benchmark_admin_lists"

# One token in 500 fails, one in 5000 is refused, one in 700 is overdue, one in 1000 is revoked.
_TROUBLES = """
UPDATE spotify_auth_spotifytoken SET failures = 2, last_error = 'http_503' WHERE user_id % 500 = 1;
UPDATE spotify_auth_spotifytoken SET failures = 2, last_error = 'invalid_grant',
    suspected_at = now() WHERE user_id % 5000 = 2;
UPDATE spotify_auth_spotifytoken SET refreshed_at = now() - interval '50 minutes',
    due_at = now() - interval '5 minutes' WHERE user_id % 700 = 3;
UPDATE spotify_auth_spotifytoken SET status = 'revoked', access_token = NULL, refresh_token = NULL
    WHERE user_id % 1000 = 4;
"""
_EVENTS = """
INSERT INTO spotify_auth_routineevent (user_id, at, rotated)
SELECT user_id, now() - (%s - n) * interval '1 hour', true
FROM generate_series(1, %s) AS n, spotify_auth_spotifytoken
"""
_LIST = "/admin/spotify_auth/spotifytoken/"
_PAGES = {
    "the list of tokens": _LIST,
    "its last page": f"{_LIST}?p=100",
    "*Overdue*": f"{_LIST}?needs=overdue",
    "*About to expire*": f"{_LIST}?needs=expiring",
    "*Failing*": f"{_LIST}?needs=failing",
    "*Suspected*": f"{_LIST}?needs=suspected",
    "*Reconnect due within 30 days*": f"{_LIST}?needs=reconnect_soon",
    "the revoked": f"{_LIST}?status__exact=revoked",
    "one last error": f"{_LIST}?last_error=http_503",
    "a search for the beginning of a name": f"{_LIST}?q=Listener+4711",
    "a search for nobody": f"{_LIST}?q=nobody",
    "the list of events": "/admin/spotify_auth/tokenevent/",
    "an outcome that no event has": "/admin/spotify_auth/tokenevent/?outcome__exact=revoked",
}
# The ciphertexts name random keys: none is under the first, so that none ends the search.
_READS_ALL = {
    "the filter *By key*, which reads every token": f"{_LIST}?key={cipher().current_head.hex()}"
}


def run(*, long: bool) -> list[Row]:
    """Each page three times; the middle one counts."""
    # Nothing is due meanwhile: no worker runs, and a backlog is another question.
    with million_tokens(DATABASE):
        with connection.cursor() as cursor:
            cursor.execute(_TROUBLES)
            cursor.execute(_EVENTS, [EVENTS_EACH, EVENTS_EACH])
            cursor.execute("VACUUM ANALYZE")
        with override_settings(ALLOWED_HOSTS=["*"]):
            client = Client(SERVER_NAME="127.0.0.1")
            staff = User.objects.create(username="root", is_staff=True, is_superuser=True)
            enter_admin(client, staff)
            return [
                *(_measure(client, what, path, target=True) for what, path in _PAGES.items()),
                *(_measure(client, what, path, target=False) for what, path in _READS_ALL.items()),
            ]


def _measure(client: Client, what: str, path: str, *, target: bool) -> Row:
    times = []
    for _ in range(TIMES):
        began = perf_counter()
        response = client.get(path)
        times.append(perf_counter() - began)
        assert response.status_code == 200, (path, response.status_code)
    took = median(times)
    return Row(
        what=what,
        target=f"under {milli(TARGET_SECONDS)}" if target else "",
        figure=milli(took),
        met=took < TARGET_SECONDS if target else None,
    )
