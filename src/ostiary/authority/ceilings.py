"""Ceilings on what one access profile, and all profiles of one project, may ask of the authority.

A consumer with a valid key can make as many first calls as it likes, each with a token or address of
its own. Past a ceiling they are refused before anything dear is done for them; others' are not.
Counted in whole seconds and periods of ten minutes, in this process.
"""

import time
from collections import Counter
from collections.abc import Callable

from ostiary.access.decision import LEASE_SECONDS
from ostiary.settings import Ceilings

#: Seconds that leases above a profile's ceiling are good for: they leave room as fast as they come.
SHORT_SECONDS = 5


class Busy(Exception):
    """A ceiling is reached: the call is refused, and may be tried again in a second."""


class Gate:
    """Counts first calls and leases; `clock` tells Unix seconds."""

    def __init__(self, ceilings: Ceilings, clock: Callable[[], float] = time.time) -> None:
        self._ceilings, self._clock = ceilings, clock
        self._second = self._period = 0
        self._profiles: Counter[int] = Counter()
        self._projects: Counter[int] = Counter()
        self._leases: Counter[int] = Counter()
        self._project_leases: Counter[int] = Counter()
        #: Since the start.
        self.refused = 0

    def enter(self, *, profile: int, project: int, most: int | None = None) -> None:
        """Count a first call of a profile; raises Busy. `most`: the project's own ceiling."""
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._profiles.clear()
            self._projects.clear()
        self._profiles[profile] += 1
        if self._profiles[profile] <= self._ceilings.upcalls_per_second:
            # What its profile's ceiling refuses takes nothing of the project's share.
            self._projects[project] += 1
            if self._projects[project] <= (most or self._ceilings.upcalls_per_project):
                return
        self.refused += 1
        raise Busy

    def seconds(self, profile: int, project: int = 0, most: int | None = None) -> int:
        """For how long the next lease of a profile may be good; counts it.

        `most`: the leases that its project may have, if that is bounded.
        """
        period = int(self._clock()) // LEASE_SECONDS
        if period != self._period:
            self._period = period
            self._leases.clear()
            self._project_leases.clear()
        self._leases[profile] += 1
        above = self._leases[profile] > self._ceilings.leases_per_profile
        if most is not None:
            self._project_leases[project] += 1
            above |= self._project_leases[project] > most
        return SHORT_SECONDS if above else LEASE_SECONDS
