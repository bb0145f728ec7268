"""Slowing down who guesses: wrong tries per account, step and address, kept for a while.

In this process's memory: a restart forgets it, which a guesser cannot bring about.
"""

import threading
import time

#: Wrong tries that are free, then the wait doubles from one second up to this.
FREE = 5
LONGEST = 900.0
#: Accounts and addresses remembered.
MOST = 10_000

_lock = threading.Lock()
_tries: dict[str, tuple[int, float]] = {}


def _wait(count: int) -> float:
    return 0.0 if count < FREE else min(2.0 ** min(count - FREE, 30), LONGEST)


def may_try(*keys: str) -> bool:
    """Whether none of the keys has to wait. The try counts as wrong until `succeeded` is called.

    Counted before it is judged: else many that are sent at once would all be free.
    """
    now = time.monotonic()
    with _lock:
        found = [_tries.get(key, (0, 0.0)) for key in keys]
        if any(now < last + _wait(count) for count, last in found):
            return False
        for key, (count, _) in zip(keys, found, strict=True):
            _tries.pop(key, None)
            _tries[key] = (count + 1, now)
        while len(_tries) > MOST:
            _tries.pop(next(iter(_tries)))
    return True


def is_slow(*keys: str) -> bool:
    """Whether one of the keys has used its free tries up."""
    with _lock:
        return any(_tries.get(key, (0, 0.0))[0] >= FREE for key in keys)


def succeeded(*keys: str) -> None:
    with _lock:
        for key in keys:
            _tries.pop(key, None)
