"""Slowing down who guesses passwords: failures per account and address, kept for a while.

In this process's memory: a restart forgets it, which a guesser cannot bring about.
"""

import threading
import time

#: Failures that are free, then the wait doubles from one second up to this.
FREE = 5
LONGEST = 900.0
#: Accounts and addresses remembered.
MOST = 10_000

_lock = threading.Lock()
_failures: dict[str, tuple[int, float]] = {}


def _keys(email: str, address: str) -> tuple[str, str]:
    return f"email:{email}", f"address:{address}"


def _wait(count: int) -> float:
    return 0.0 if count < FREE else min(2.0 ** (count - FREE), LONGEST)


def may_try(email: str, address: str) -> bool:
    """Whether neither the account nor the address has to wait."""
    now = time.monotonic()
    with _lock:
        found = [_failures[key] for key in _keys(email, address) if key in _failures]
    return all(now >= last + _wait(count) for count, last in found)


def failed(email: str, address: str) -> None:
    with _lock:
        for key in _keys(email, address):
            count, _ = _failures.pop(key, (0, 0.0))
            _failures[key] = (count + 1, time.monotonic())
        while len(_failures) > MOST:
            _failures.pop(next(iter(_failures)))


def succeeded(email: str, address: str) -> None:
    with _lock:
        for key in _keys(email, address):
            _failures.pop(key, None)
