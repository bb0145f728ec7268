"""Asking what may hang, such as a database whose machine is gone: an answer in time, or none."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Patient(Generic[T]):
    """Does one piece of work in a thread; while that hangs, it is not begun once more."""

    def __init__(self, work: Callable[[], T], name: str) -> None:
        self._work = work
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._running: Future[T] | None = None

    def ask(self, seconds: float) -> T:
        """The result of the work; raises what the work raised, or TimeoutError if it is late."""
        with self._lock:
            if self._running is None or self._running.done():
                self._running = self._pool.submit(self._work)
            running = self._running
        return running.result(seconds)
