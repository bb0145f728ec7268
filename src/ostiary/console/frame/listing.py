"""Lists: what of one is asked for, where a page lies in it, and numbers out of an address."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlencode

from django.db.models import Model, QuerySet
from django.http import HttpRequest

PER_PAGE = 25

M = TypeVar("M", bound=Model)

#: Orders of a list of named things: value in the address → label, columns.
ORDERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "name": ("Name, A to Z", ("name", "pk")),
    "-name": ("Name, Z to A", ("-name", "-pk")),
    "-created": ("Newest first", ("-pk",)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Paging:
    """Where in a list a page lies; links keep the filters."""

    number: int
    total: int
    filters: dict[str, str]

    @property
    def pages(self) -> int:
        return max(1, -(-self.total // PER_PAGE))

    @property
    def previous(self) -> str:
        return self._link(self.number - 1) if self.number > 1 else ""

    @property
    def following(self) -> str:
        return self._link(self.number + 1) if self.number < self.pages else ""

    def _link(self, number: int) -> str:
        return "?" + urlencode({**self.filters, "page": number})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an address asks of a list: texts as they came, within bounds."""

    search: str = ""
    project_id: int | None = None
    order: str = "name"
    page: int = 1
    orders: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=lambda: ORDERS)

    @property
    def filtered(self) -> bool:
        return bool(self.search or self.project_id)

    def paging(self, total: int) -> Paging:
        """Where the page lies; a page past the end is the last."""
        given = {"search": self.search, "project": str(self.project_id or ""), "order": self.order}
        paging = Paging(
            number=self.page, total=total, filters={k: v for k, v in given.items() if v}
        )
        return Paging(number=min(self.page, paging.pages), total=total, filters=paging.filters)

    def sliced(self, found: QuerySet[M], paging: Paging) -> QuerySet[M]:
        """The rows of the page, in the order that is asked for."""
        start = (paging.number - 1) * PER_PAGE
        return found.order_by(*self.orders[self.order][1])[start : start + PER_PAGE]


def asked(
    request: HttpRequest, orders: Mapping[str, tuple[str, tuple[str, ...]]] = ORDERS
) -> Asked:
    """Read an address; what it may not say means the default, the first of the orders."""
    first = next(iter(orders))
    order = request.GET.get("order", first)
    return Asked(
        search=request.GET.get("search", "").strip().replace("\x00", "")[:100],
        project_id=number_of(request.GET.get("project")),
        order=order if order in orders else first,
        orders=orders,
        page=max(1, number_of(request.GET.get("page")) or 1),
    )


def number_of(text: str | None) -> int | None:
    """A number as addresses and forms hold it; nothing if it is none."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else None


def lines_of(text: str) -> list[str]:
    """What a field with one entry a line holds."""
    return [line.strip() for line in text.splitlines() if line.strip()]
