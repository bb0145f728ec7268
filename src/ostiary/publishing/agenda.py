"""Pending publishing work, and the change of the feed up to which everything is published.

Pure bookkeeping. Work that takes long or waits for strangers (names, many endpoints, everything) is
of a slow part: it holds up the confirmation of its own changes, and of nobody else's.
"""

import enum
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice


class WorkKind(enum.StrEnum):
    """A kind of work; the object's id goes with it."""

    SETTINGS = "settings"
    COLLECTION = "collection"
    ENDPOINT = "endpoint"
    PROFILE = "profile"
    #: A connection that is ready to be published.
    CONNECTION = "connection"
    #: A connection whose names, token and certificates are waited for first.
    PREPARED = "prepared"
    ENDPOINTS = "endpoints"
    RECIPE = "recipe"
    EVERYTHING = "everything"


SLOW = frozenset({WorkKind.PREPARED, WorkKind.ENDPOINTS, WorkKind.RECIPE, WorkKind.EVERYTHING})
Item = tuple[WorkKind, int]


#: Changes that an item remembers one by one.
MOST_REMEMBERED = 10_000


@dataclass(slots=True)
class _Changes:
    """The changes that an item is for: these, and every one up to `until`."""

    #: Only a few objects are changed so often before their turn that this is not each of them.
    each: set[int] = field(default_factory=set)
    until: int = 0

    def include(self, *sequences: int) -> None:
        self.each.update(sequences)
        if len(self.each) > MOST_REMEMBERED:
            self.until = max(self.until, *self.each)
            self.each.clear()

    def join(self, other: "_Changes") -> None:
        self.until = max(self.until, other.until)
        self.include(*other.each)

    @property
    def first(self) -> int | None:
        """The oldest of them; none: it is for no change."""
        return 1 if self.until else min(self.each, default=None)

    def holds(self, sequence: int) -> bool:
        return sequence <= self.until or sequence in self.each


class Agenda:
    """Work that waits and work in progress; one item at a time of the same object."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[Item, _Changes] = OrderedDict()
        self._running: dict[Item, _Changes] = {}
        #: Everything up to here was read from the feed.
        self.read = 0

    def add(self, part: WorkKind, object_id: int = 0, sequence: int | None = None) -> None:
        """Note work; `sequence` is the change that it is for, if any."""
        changes = self._waiting.setdefault((part, object_id), _Changes())
        if sequence is not None:
            changes.include(sequence)

    def add_everything(self) -> None:
        """Nothing that was read is known to be at the gateway, until everything was compared."""
        everything = self._waiting.setdefault((WorkKind.EVERYTHING, 0), _Changes())
        everything.until = max(everything.until, self.read, 1)

    def take(self, part: WorkKind, *, most: int) -> list[int]:
        """Begin with the oldest work of a part: ids of its objects."""
        items = (i for i in self._waiting if i[0] == part and i not in self._running)
        return self.take_these(part, [object_id for _, object_id in islice(items, most)])

    def take_these(self, part: WorkKind, ids: Iterable[int]) -> list[int]:
        """Begin with the work of these objects that waits."""
        taken = []
        for object_id in ids:
            item = (part, object_id)
            if item in self._waiting and item not in self._running:
                self._running[item] = self._waiting.pop(item)
                taken.append(object_id)
        return taken

    def waits(self, parts: Iterable[WorkKind]) -> bool:
        """Whether there is work of one of these parts."""
        wanted = set(parts)
        return any(item[0] in wanted and item not in self._running for item in self._waiting)

    def done(self, part: WorkKind, ids: Iterable[int]) -> None:
        """The work is at the gateway, or set aside."""
        for object_id in ids:
            self._running.pop((part, object_id), None)

    def again(self, part: WorkKind, ids: Iterable[int], *, then: WorkKind | None = None) -> None:
        """The work could not be done, or goes on as another part: it waits, for the same changes."""
        for object_id in ids:
            changes = self._running.pop((part, object_id), None)
            if changes is not None:
                self._waiting.setdefault((then or part, object_id), _Changes()).join(changes)

    @property
    def published(self) -> int:
        """Everything up to this change is at the gateway, or set aside."""
        return self._before(frozenset())

    def is_confirmed(self, sequence: int) -> bool:
        """Whether a change and those before it are done, but for others' slow work."""
        return (
            self.read >= sequence
            and self._before(SLOW) >= sequence
            and not any(changes.holds(sequence) for changes in self._changes())
        )

    def _before(self, ignored: frozenset[WorkKind]) -> int:
        first = self.read
        for items in (self._waiting, self._running):
            for (part, _), changes in items.items():
                if part not in ignored and (oldest := changes.first) is not None:
                    first = min(first, oldest - 1)
        return max(first, 0)

    def _changes(self) -> Iterable[_Changes]:
        yield from self._waiting.values()
        yield from self._running.values()
