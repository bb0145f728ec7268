"""Objects that were set aside: what cannot be built, or what the gateway refuses, and why."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

log = logging.getLogger(__name__)

#: Characters of a reason, which is one sentence.
LONGEST = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Aside:
    """An object that the gateway does not get; the others are not touched by it."""

    kind: str
    id: int
    reason: str


class SetAside:
    """The objects that are set aside now; each is logged when it becomes so, and when it ends."""

    def __init__(self) -> None:
        self._reasons: dict[tuple[str, int], str] = {}

    def __len__(self) -> int:
        return len(self._reasons)

    def add(self, kind: str, object_id: int, reason: str) -> None:
        """Set an object aside, or say another reason."""
        reason = "".join(c if c.isprintable() else "?" for c in reason)[:LONGEST]
        if self._reasons.get((kind, object_id)) != reason:
            log.warning("the %s %s is set aside: %s", kind, object_id, reason)
        self._reasons[kind, object_id] = reason

    def remove(self, kind: str, object_id: int) -> None:
        """The object is at the gateway, or was deleted."""
        if self._reasons.pop((kind, object_id), None) is not None:
            log.info("the %s %s is no longer set aside", kind, object_id)

    def all(self) -> list[Aside]:
        """Every one, in order."""
        return [
            Aside(kind=kind, id=object_id, reason=reason)
            for (kind, object_id), reason in sorted(self._reasons.items())
        ]

    def of(self, items: Iterable[tuple[str, int]]) -> list[Aside]:
        """Those of these objects."""
        return [
            Aside(kind=kind, id=object_id, reason=self._reasons[kind, object_id])
            for kind, object_id in items
            if (kind, object_id) in self._reasons
        ]
