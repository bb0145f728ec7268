"""What of prctl(2) the supervisor and its parts need: who inherits orphans, and who follows whom.

Knows no part.
"""

import ctypes
import os
import signal

_SET_PDEATHSIG = 1
_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends; raises OSError."""
    _call(_SET_CHILD_SUBREAPER, 1)


def end_with(parent: int) -> None:
    """Have the kernel send us SIGTERM when `parent` ends, which must be ours; raises OSError."""
    _call(_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        # It ended before we asked.
        raise ProcessLookupError(parent)


def _call(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
