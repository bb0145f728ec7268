"""Sending what webhooks wait for, in a thread of the control part.

The same thread switches on what was off until a moment, which webhooks are told of.

The database is the queue: whoever sends it claims an attempt there first, so a process that dies
loses none, and several that run do not send the same one at once. A receiver may still get an
event twice, and knows it by its `webhook-id`.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator

from django.db import close_old_connections
from django.utils import timezone

from ostiary.directory.clients import returning
from ostiary.directory.webhooks import deliveries, events
from ostiary.directory.webhooks.deliveries import DeliveryAttempt
from ostiary.directory.workspace import workspace_settings
from ostiary.identity.fetching import Fetcher, FetchRefused
from ostiary.webhooks import measures, signatures

log = logging.getLogger(__name__)

#: Seconds that a receiver has for its answer.
SECONDS = 10.0
#: Attempts under way at the same time, to all webhooks together.
AT_ONCE = 32
#: Seconds between two queries for due deliveries.
POLL_SECONDS = 1.0
#: Seconds between two searches for credentials that expire.
EXPIRY_SECONDS = 600.0


@contextlib.contextmanager
def sending(fetcher: Fetcher | None = None) -> Iterator[None]:
    """Send in the background until the end of the block."""
    sender = _Sender(fetcher or Fetcher())
    thread = threading.Thread(target=sender.run, name="webhooks", daemon=True)
    thread.start()
    try:
        yield
    finally:
        sender.stop()
        thread.join(SECONDS)


class _Sender:
    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._busy: Counter[int] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._run())

    def stop(self) -> None:
        with contextlib.suppress(RuntimeError):  # it ended by itself
            self._loop.call_soon_threadsafe(self._stop.set)

    async def _run(self) -> None:
        looked = float("-inf")
        while not self._stop.is_set():
            try:
                if time.monotonic() > looked + EXPIRY_SECONDS:
                    await asyncio.to_thread(_tell_expiring)
                    looked = time.monotonic()
                await asyncio.to_thread(_bring_back)
                await self._send_due()
            except Exception:
                # Whatever broke (a database that went away breaks in many ways), what is due is
                # still due.
                log.exception("webhooks could not be read")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), timeout=POLL_SECONDS)
        # What is under way is claimed, and is tried again by whoever starts next.

    async def _send_due(self) -> None:
        room = AT_ONCE - self._busy.total()
        if room <= 0:
            return
        attempts, hosts = await asyncio.to_thread(_claim, dict(self._busy), room)
        for attempt in attempts:
            self._busy[attempt.webhook_id] += 1
            task = asyncio.create_task(self._send(attempt, hosts))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _send(self, attempt: DeliveryAttempt, hosts: Collection[str]) -> None:
        try:
            with measures.UNDER_WAY.track_inprogress():
                status, error = await self._post(attempt, hosts)
            await asyncio.to_thread(_finish, attempt, status, error)
        except Exception:
            # It was not written down, so it will be sent again.
            log.exception("the outcome of a webhook could not be written")
        finally:
            self._busy[attempt.webhook_id] -= 1

    async def _post(
        self, attempt: DeliveryAttempt, hosts: Collection[str]
    ) -> tuple[int | None, str]:
        """The response status, and why it does not end the delivery."""
        if not attempt.secrets:
            return None, "Its secret does not open; rotate it."
        body = attempt.body.encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Ostiary-Webhooks/1",
            **signatures.headers(attempt.uid, int(time.time()), body, attempt.secrets),
        }
        try:
            status = await self._fetcher.post(
                attempt.url, hosts, content=body, headers=headers, seconds=SECONDS
            )
        except FetchRefused as error:
            return None, str(error)
        except Exception:
            # A receiver may make the client library fail in any way; the others must still be notified.
            log.exception("a webhook could not be sent")
            return None, "It could not be sent; see the log of the control part."
        if 200 <= status < 300:
            return status, ""
        redirected = " Redirects are not followed." if 300 <= status < 400 else ""
        return status, f"It answered {status}.{redirected}"


def _bring_back() -> None:
    close_old_connections()
    returning.bring_back(timezone.now())


def _claim(busy: dict[int, int], most: int) -> tuple[list[DeliveryAttempt], Collection[str]]:
    close_old_connections()
    attempts = deliveries.claim(now=timezone.now(), busy=busy, most=most)
    return attempts, workspace_settings.read().fetch_hosts if attempts else ()


def _finish(attempt: DeliveryAttempt, status: int | None, error: str) -> None:
    close_old_connections()
    state = deliveries.finish(attempt, now=timezone.now(), status=status, error=error)
    outcome = "failed" if state == deliveries.State.WAITING else state.value
    measures.ATTEMPTS.labels(outcome).inc()


def _tell_expiring() -> None:
    close_old_connections()
    events.tell_expiring(timezone.now())
