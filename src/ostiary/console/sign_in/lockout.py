"""Lockout: slows guessing down by counting wrong tries per account, step and address.

In this process's memory: a restart forgets it, which a guesser cannot bring about.
"""

import threading
import time

#: Wrong tries that are free, then the wait doubles from one second up to the longest. An address
#: can be that of many: tries that are under way count as well.
FREE, FREE_OF_ADDRESS = 5, 20
LONGEST = 900.0
#: Accounts and addresses remembered.
MOST = 10_000

_lock = threading.Lock()
_tries: dict[str, tuple[int, float]] = {}


def of_address(address: str) -> str:
    """The key of an address; other keys are an account's."""
    return f"address:{address}"


def _over(key: str, count: int) -> int:
    """How many tries more than are free; negative if some are left."""
    return count - (FREE_OF_ADDRESS if key.startswith("address:") else FREE)


def _wait(key: str, count: int) -> float:
    over = _over(key, count)
    return 0.0 if over < 0 else min(2.0 ** min(over, 30), LONGEST)


def may_try(*keys: str) -> bool:
    """Whether none of the keys has to wait. The try counts as wrong until `succeeded` is called.

    Counted before it is judged: else many that are sent at once would all be free.
    """
    now = time.monotonic()
    with _lock:
        found = {key: _tries.get(key, (0, 0.0)) for key in keys}
        if any(now < last + _wait(key, count) for key, (count, last) in found.items()):
            return False
        for key, (count, _) in found.items():
            _tries.pop(key, None)
            _tries[key] = (count + 1, now)
        while len(_tries) > MOST:
            _tries.pop(next(iter(_tries)))
    return True


def is_slow(*keys: str) -> bool:
    """Whether one of the keys has used its free tries up."""
    with _lock:
        return any(_over(key, _tries.get(key, (0, 0.0))[0]) >= 0 for key in keys)


def succeeded(*keys: str) -> None:
    with _lock:
        for key in keys:
            _tries.pop(key, None)
