"""CA certificates that connections trust: the only thing of an owner's that must be nginx's own text."""

import asyncio
import logging
from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

#: Puts certificates (digest → PEM) in force; digest → a sentence for each that cannot be.
Apply = Callable[[Mapping[str, str]], Mapping[str, str]]


class Trust:
    """Which certificates are in force at the gateway."""

    def __init__(self, apply: Apply) -> None:
        self._apply = apply
        self._lock = asyncio.Lock()
        self._in_force: dict[str, str] = {}
        self._problems: dict[str, str] = {}

    def problem(self, digest: str) -> str | None:
        """Empty: it is in force. A sentence: the gateway refuses it. Nothing: not known yet."""
        if digest in self._in_force:
            return ""
        return self._problems.get(digest)

    async def ensure(self, wanted: Mapping[str, str]) -> None:
        """Put these in force beside those that are; raises what applying them raises."""
        async with self._lock:
            missing = {d: p for d, p in wanted.items() if self.problem(d) is None}
            if missing:
                await self._put(self._in_force | missing)

    async def settle(self, wanted: Mapping[str, str]) -> None:
        """Put these in force, try refused ones again, and forget those that nobody wants."""
        async with self._lock:
            self._problems.clear()
            if dict(wanted) != self._in_force:
                await self._put(dict(wanted))

    async def _put(self, wanted: Mapping[str, str]) -> None:
        problems = await asyncio.to_thread(self._apply, wanted)
        self._problems |= {d: s for d, s in problems.items() if d in wanted}
        self._in_force = {d: p for d, p in wanted.items() if d not in problems}
        for digest, sentence in problems.items():
            log.warning("the gateway refuses the CA certificates %s: %s", digest, sentence)
