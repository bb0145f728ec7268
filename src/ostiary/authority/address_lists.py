"""A cache of shared address lists in their searchable form.

Each decision asks for the list's version after it has read its profile, so that what it sees is never
older than the sequence that the lease bears.
"""

from collections import OrderedDict

from ostiary.access.addresses import NamedList
from ostiary.authority.lookup import Lookup, Row

#: Networks of all lists that are remembered, some 10 to 60 bytes each.
MOST_NETWORKS = 1_000_000


class MissingList(ValueError):
    """A profile names a list that does not exist: the rule must refuse, not be ignored."""


class NamedLists:
    """Reads lists by their ids; reloads those that changed."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._known: OrderedDict[int, tuple[int, NamedList]] = OrderedDict()
        self._networks = 0

    async def of(self, row: Row) -> tuple[tuple[NamedList, ...], tuple[NamedList, ...]]:
        """The lists that allow and that deny; raises ValueError for one that does not read."""
        if not row.allowed_lists and not row.denied_lists:
            return (), ()
        return await self._all(row.allowed_lists), await self._all(row.denied_lists)

    async def _all(self, ids: str | None) -> tuple[NamedList, ...]:
        return tuple([await self._one(each) for each in list_ids(ids)])

    async def _one(self, list_id: int) -> NamedList:
        known = self._known.get(list_id)
        if known is not None and known[0] == await self._lookup.list_version(list_id):
            self._known.move_to_end(list_id)
            return known[1]
        found = await self._lookup.address_list(list_id)
        if found is None:
            raise MissingList(list_id)
        epoch, name, packed = found
        named = NamedList(id=list_id, name=name, packed=packed)
        self._remember(list_id, epoch, named)
        return named

    def _remember(self, list_id: int, epoch: int, named: NamedList) -> None:
        old = self._known.pop(list_id, None)
        self._networks += len(named) - (len(old[1]) if old else 0)
        self._known[list_id] = epoch, named
        while self._networks > MOST_NETWORKS and len(self._known) > 1:
            _, (_, forgotten) = self._known.popitem(last=False)
            self._networks -= len(forgotten)


def list_ids(text: str | None) -> list[int]:
    """The ids of a row's lists, in their order."""
    return sorted(int(word) for word in text.split(",")) if text else []
