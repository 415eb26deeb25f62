"""Background work: queues, workers and beats, sweeps, pauses, and what they keep fresh."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress

from celery import current_app
from django.db import Error

import spotify_auth
from spotify_auth import cooldown, health, presence, queues, service_pause
from spotify_auth.celery_settings import LANE
from spotify_auth.doctor.findings import Finding, ok, problem, warning
from spotify_auth.figures import summary
from spotify_auth.models import Presence
from spotify_auth.presence import Seen

TAKEN_WITHIN = 2.5
"""Seconds. A worker with a free thread takes the next task at once."""
_LOOK_SECONDS = 0.05
_START_A_WORKER = "Start a worker with `--queues {queues}` (the Procfile has the whole line)."


def look_at_queues() -> Iterator[Finding]:
    """Lanes have a queue of their own, and somebody takes what waits in each queue."""
    tasks_of = _queues_of_tasks()
    (lanes,) = [name for name, tasks in tasks_of.items() if LANE in tasks]
    if len(tasks_of[lanes]) > 1:
        others = len(tasks_of[lanes]) - 1
        yield warning(
            f"Lanes wait in the queue {lanes}, with {others} other kinds of tasks.",
            "Route them to a queue of their own, as spotify_auth.celery_settings.TASK_ROUTES does, "
            "or sweeps open too many lanes or too few.",
        )
    workers = _workers()
    for name in tasks_of:
        yield _about(name, workers, start=_START_A_WORKER.format(queues=",".join(tasks_of)))


def _queues_of_tasks() -> dict[str, list[str]]:
    """The queues to which the routes lead, and the tasks that go there."""
    current_app.loader.import_default_modules()
    found: defaultdict[str, list[str]] = defaultdict(list)
    for task in sorted(current_app.tasks):
        if not task.startswith("celery."):
            route = current_app.amqp.router.route({}, task)
            found[route["queue"].name].append(task)
    return dict(found)


def _workers() -> list[Seen] | None:
    """Those at work; None if PostgreSQL does not say, of which another check tells."""
    with suppress(Error):
        return [
            each for each in presence.seen() if each.kind == Presence.Kind.WORKER and each.is_there
        ]
    return None


def _about(queue: str, workers: list[Seen] | None, *, start: str) -> Finding:
    before = queues.waiting(queue)
    nobody = workers is not None and not any(each.lanes_allowed for each in workers)
    if queue == queues.of_task(LANE) and nobody:
        return problem(f"No worker reads the queue {queue}, in which {before} wait.", start)
    if not before or _one_is_taken(queue, before):
        return ok(f"Tasks that wait in the queue {queue}: {before}.")
    found = f"In the queue {queue} wait {before}, and none was taken in {TAKEN_WITHIN:.1f} s."
    if workers and not any(each.lanes_running < each.lanes_allowed for each in workers):
        return warning(
            f"{found} All threads of the workers are busy.",
            "If it stays so, start another worker, or raise WORKER_CONCURRENCY "
            "(docs/how-to/scale.md).",
        )
    return problem(found, start)


def _one_is_taken(queue: str, before: int) -> bool:
    give_up = time.monotonic() + TAKEN_WITHIN
    while time.monotonic() < give_up:
        now = queues.waiting(queue)
        if now < before:
            return True
        before = now
        time.sleep(_LOOK_SECONDS)
    return False


def look_at_workers() -> Iterator[Finding]:
    """Workers and beats that are there, and whether they are of this version."""
    seen = presence.seen()
    there = [each for each in seen if each.is_there]
    gone = [each for each in seen if not each.is_there]
    workers = [each for each in there if each.kind == Presence.Kind.WORKER]
    beats = [each for each in there if each.kind == Presence.Kind.BEAT]
    if not workers:
        yield problem("No worker is there: no token is refreshed.", "Start a worker.")
    else:
        running = sum(each.lanes_running for each in workers)
        allowed = sum(each.lanes_allowed for each in workers)
        yield ok(f"Workers: {len(workers)}. Lanes that run: {running} of {allowed}.")
    if not beats:
        yield warning("No beat is there. Workers sweep by themselves.", "Start a beat.")
    else:
        yield ok(f"Beats: {len(beats)}.")
    for each in gone:
        yield warning(
            f"A {each.kind} on {each.host} (process {each.pid}) was last seen "
            f"{each.seen_seconds:.0f} s ago.",
            "It was killed, is frozen or cut off, if it is not one that you stopped by force. "
            "It is named for an hour.",
        )
    others = {each.version for each in there} - {spotify_auth.__version__}
    if others:
        yield warning(
            f"Here is version {spotify_auth.__version__}, and others run {', '.join(others)}.",
            "Finish the upgrade: restart what is old (docs/how-to/upgrade.md).",
        )


def look_at_sweep() -> Iterator[Finding]:
    """Sweeps come."""
    found = health.check_sweep()
    said = f"{found.detail[0].upper()}{found.detail[1:]}"
    if found.ok:
        yield ok(f"{said}.")
    else:
        yield problem(
            said if said.endswith("?") else f"{said}.",
            "Start a worker and a beat: without sweeps no lane is opened. Their log has "
            "`sweep_failed` or `sweep_missed` if they run.",
        )


def look_at_pause() -> Iterator[Finding]:
    """Whether all refreshing pauses or is too slow: by an operator's order or the service's own."""
    ordered = service_pause.current()
    if ordered:
        yield warning(
            f"{ordered.by} has paused all refreshing on {ordered.since:%Y-%m-%d at %H:%M:%S} UTC: "
            f"{ordered.reason}",
            "Nothing is refreshed until an operator resumes it (docs/how-to/operate.md).",
        )
    reason, left = cooldown.reason(), cooldown.left()
    if reason:
        yield warning(
            f"All refreshing pauses: {reason}, for {left:.0f} s more.",
            "It ends by itself. The line credentials says whether Spotify takes our requests; "
            "docs/reference/log-lines.md explains the reasons (`cooldown_on`).",
        )
    found = summary.look()
    if found.traffic and found.pace_is_too_low:
        yield warning(
            f"Spotify allows {found.traffic.pace:.1f} refreshes a second, and {found.awake} users "
            f"need {found.need:.1f}.",
            "See docs/how-to/runbooks/rate-limited.md.",
        )
    elif found.traffic is None:
        yield warning(
            "Whether a cool-down pauses all refreshing is not known: Redis does not answer.",
            "The line redis says more.",
        )
    elif not ordered and not reason:
        yield ok("Nothing pauses.")


def look_at_freshness() -> Iterator[Finding]:
    """Connected users have fresh tokens."""
    found = health.FreshnessCheck()()
    said = f"{found.detail[0].upper()}{found.detail[1:]}."
    if found.ok:
        yield ok(said)
    else:
        yield problem(
            said,
            "Look at the lines workers, sweep, pause and credentials, and at the last errors in "
            "the admin's list of tokens.",
        )
