"""Lists: query parameters, paging, and numbers from query strings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlencode

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes import finding
from ostiary.directory.projects import projects

PER_PAGE = 25

M = TypeVar("M", bound=Model)
N = TypeVar("N", bound=Model)

#: Orders of a list of named things: value in the address → label, columns.
ORDERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "name": ("Name, A to Z", ("name", "pk")),
    "-name": ("Name, Z to A", ("-name", "-pk")),
    "-created": ("Newest first", ("-pk",)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pager:
    """Paging of a list; links keep the filters."""

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
class ListQuery:
    """A list's query parameters: raw texts, bounded in length."""

    search: str = ""
    project_id: int | None = None
    order: str = "name"
    page: int = 1
    orders: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=lambda: ORDERS)

    @property
    def filtered(self) -> bool:
        return bool(self.search or self.project_id)

    def paging(self, total: int) -> Pager:
        """The page's position; a page past the end becomes the last page."""
        given = {"search": self.search, "project": str(self.project_id or ""), "order": self.order}
        paging = Pager(number=self.page, total=total, filters={k: v for k, v in given.items() if v})
        return Pager(number=min(self.page, paging.pages), total=total, filters=paging.filters)

    def among(self, found: QuerySet[M]) -> QuerySet[M]:
        """Those with each word in name, key or labels, of the project if one is asked for."""
        if self.search:
            found = finding.with_words(found, self.search, ("name", "key"), labelled=True)
        if self.project_id is not None:
            found = found.filter(project_id=self.project_id)
        return found

    def sliced(self, found: QuerySet[M], paging: Pager) -> QuerySet[M]:
        """The rows of the page, in the order that is asked for."""
        start = (paging.number - 1) * PER_PAGE
        return found.order_by(*self.orders[self.order][1])[start : start + PER_PAGE]


def asked(
    request: HttpRequest, orders: Mapping[str, tuple[str, tuple[str, ...]]] = ORDERS
) -> ListQuery:
    """Read the query parameters; an invalid order means the default, the first one."""
    first = next(iter(orders))
    order = request.GET.get("order", first)
    return ListQuery(
        search=request.GET.get("search", "").strip().replace("\x00", "")[:100],
        project_id=number_of(request.GET.get("project")),
        order=order if order in orders else first,
        orders=orders,
        page=max(1, number_of(request.GET.get("page")) or 1),
    )


#: Most users named beside an object; the page says if there are more.
MOST_NAMED = 5


def listed(
    request: HttpRequest,
    by: Actor,
    matching: Callable[[ListQuery], QuerySet[M]],
    *,
    nouns: str,
    detailed: Callable[[QuerySet[M]], QuerySet[M]] = lambda found: found,
) -> tuple[QuerySet[M], dict[str, object]]:
    """The rows of a list that an address asks for, and what its template needs besides.

    `detailed` adds what is not counted: it is asked for the page alone.
    """
    wanted = asked(request)
    found = matching(wanted)
    paging = wanted.paging(found.count())
    seen = projects.projects(by).order_by("name")
    return wanted.sliced(detailed(found), paging), {
        "asked": wanted,
        "paging": paging,
        "nouns": nouns,
        "projects": seen,
        "may_add": by.may_somewhere(Role.EDITOR),
        # Not read for a page that is still true.
        "changeable": SimpleLazyObject(
            lambda: frozenset(each.pk for each in seen if by.may(Role.EDITOR, each.pk))
        ),
    }


def users(found: QuerySet[N]) -> dict[str, object]:
    """The first of those that use something, and whether there are more."""
    first = list(found[: MOST_NAMED + 1])
    return {"used": first[:MOST_NAMED], "more": len(first) > MOST_NAMED}


def number_of(text: str | None) -> int | None:
    """A number as addresses and forms hold it; nothing if it is none."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else None


def lines_of(text: str) -> list[str]:
    """What a field with one entry a line holds."""
    return [line.strip() for line in text.splitlines() if line.strip()]
