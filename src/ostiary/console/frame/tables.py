"""Tables: one list for all nouns. A noun declares columns, filters, orders and actions.

What is asked for stands in the address, so a list can be sent to somebody, saved under a name, and
read as CSV. A table reads the rows of one page, and what it shows beside them by queries about all of
them.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, cast
from urllib.parse import parse_qsl, urlencode

from django.contrib import messages
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.functional import SimpleLazyObject

from ostiary.console.frame import live
from ostiary.console.frame.bulk import Bulk
from ostiary.console.frame.listing import Pager, number_of
from ostiary.directory import search
from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes import finding
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.models import Member
from ostiary.directory.people import saved_filters
from ostiary.usage import csv_export

PER_PAGE: Final = 25
#: ChoiceFilter of a select; where there are more, it is a field that is typed into.
MOST_CHOICES: Final = 50
#: Rows that are read together for CSV.
CSV_ROWS: Final = 500
LONGEST_TEXT: Final = 200

Rows = QuerySet[Any]
#: The number at the end of what a field of a named object holds: `Orders #12`.
_NUMBERED: Final = re.compile(r"(?:^|#)([0-9]{1,9})$")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSwitch:
    """A switch in a row: a form of its own beside the form of the ticks."""

    address: str
    is_on: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What one column shows of one row."""

    text: str = ""
    href: str = ""
    #: Said where one points at it.
    title: str = ""
    #: Kind of badge (`on`, `off`, `bad`, `watched`); empty: none.
    state: str = ""
    moment: datetime | None = None
    is_code: bool = False
    #: Used, of how many.
    meter: tuple[int, int] | None = None
    #: Heights of small bars, from 0 to 20.
    bars: tuple[int, ...] = ()
    more: tuple["Cell", ...] = ()
    #: Whose logo stands before the text.
    logo: Any = None
    #: For those who may change the row: a button's word and address.
    action: tuple[str, str] | None = None
    switch: RowSwitch | None = None

    @property
    def plain(self) -> str:
        """As one text, for CSV."""
        first = self.moment.isoformat() if self.moment else self.text
        beside = f"{first} ({self.title})" if self.title else first
        return ", ".join(filter(None, (beside, *(each.plain for each in self.more))))


@dataclass(frozen=True, slots=True, kw_only=True)
class TableColumn:
    name: str
    label: str
    #: The row, and what the table has read beside its rows.
    cell: Callable[[Any, Any], Cell]
    #: Columns of the database to sort by, ascending; empty: it is not sorted by.
    order: tuple[str, ...] = ()
    is_number: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceFilter:
    """A filter with a few fixed values."""

    name: str
    label: str
    #: Value → label and condition.
    values: Callable[[], Mapping[str, tuple[str, Q]]]

    def narrowed(self, by: Actor, rows: Rows, value: str) -> Rows:
        chosen = self.values().get(value)
        return rows if chosen is None else rows.filter(chosen[1])

    def field(self, by: Actor, value: str) -> "FilterField":
        options = [(each, label) for each, (label, _) in self.values().items()]
        return FilterField(name=self.name, label=self.label, value=value, options=options)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedFilter:
    """A filter by an object with a name: a select, or where there are many a field for its name."""

    name: str
    label: str
    objects: Callable[[Actor], Rows]
    #: Rows with one of these objects.
    having: Callable[[Rows, QuerySet[Any] | Sequence[int]], Rows]
    #: Rows without any, if that can be, and what the choice is called.
    none: tuple[str, Q] | None = None

    def narrowed(self, by: Actor, rows: Rows, value: str) -> Rows:
        if value == "none" and self.none is not None:
            return rows.filter(self.none[1])
        numbered = _NUMBERED.search(value)
        if numbered:
            return self.having(rows, [int(numbered[1])])
        found = finding.with_words(self.objects(by), value, ("name",))
        return self.having(rows, found.order_by().values("pk"))

    def field(self, by: Actor, value: str) -> "FilterField":
        first = list(
            self.objects(by).order_by("name").values_list("pk", "name")[: MOST_CHOICES + 1]
        )
        options = [("none", self.none[0])] if self.none else []
        if len(first) <= MOST_CHOICES:
            numbered = _NUMBERED.search(value)
            options += [(str(pk), name) for pk, name in first]
            chosen = numbered[1] if numbered else value
            return FilterField(name=self.name, label=self.label, value=chosen, options=options)
        numbered = re.fullmatch(r"[0-9]{1,9}", value)
        if numbered:
            name = self.objects(by).filter(pk=int(value)).values_list("name", flat=True).first()
            value = f"{name} #{value}" if name else value
        return FilterField(name=self.name, label=self.label, value=value, is_typed=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterField:
    """A filter as the page shows it."""

    name: str
    label: str
    value: str
    options: Sequence[tuple[str, str]] = ()
    is_typed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A list of a noun."""

    #: The name of its address, under which its filters are saved.
    name: str
    title: str
    nouns: tuple[str, str]
    #: What the search looks through.
    placeholder: str
    rows: Callable[[Actor], Rows]
    searched: Callable[[Actor, Rows, str], Rows]
    columns: Sequence[TableColumn]
    filters: Sequence[ChoiceFilter | NamedFilter]
    #: The order where none is asked for.
    order: str
    #: What is joined to the rows of a page alone.
    detailed: Callable[[Rows], Rows] = lambda rows: rows
    #: What is shown beside rows, read for all of them together.
    beside: Callable[[Actor, Sequence[Any]], Any] = lambda _by, _rows: None
    label: Callable[[Any], str] = str
    project: Callable[[Any], int] = lambda row: int(row.project_id)
    bulk: Bulk | None = None
    #: Address name and label of the button that makes a new one.
    new: tuple[str, str] | None = None
    empty: str = ""
    #: What the id of a row begins with, for links to it: `profile-12`.
    anchor: str = ""

    def ordered(self, order: str) -> tuple[str, ...]:
        sign = "-" if order.startswith("-") else ""
        name = order.removeprefix("-")
        [column] = [each for each in self.columns if each.name == name]
        return tuple(f"{sign}{each}" for each in column.order)

    @property
    def orders(self) -> frozenset[str]:
        return frozenset(each.name for each in self.columns if each.order)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableQuery:
    """What an address asks of a table."""

    table: Table
    search: str = ""
    #: What was searched for may be a whole token: it is not looked for by an address.
    is_secret: bool = False
    order: str = ""
    page: int = 1
    values: Mapping[str, str] = field(default_factory=dict)
    #: Filters of the page that the list is a part of: they do not stand in that page's address.
    within: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, table: Table, given: Mapping[str, str], within: Mapping[str, str] | None = None
    ) -> "TableQuery":
        """What is not known is left out."""
        texts = {
            name: text.strip().replace("\x00", "")[:LONGEST_TEXT] for name, text in given.items()
        }
        order = texts.get("order", "")
        wanted = texts.get("search", "")
        is_secret = search.may_be_secret(wanted)
        return cls(
            table=table,
            search="" if is_secret else wanted,
            is_secret=is_secret,
            order=order if order.removeprefix("-") in table.orders else "",
            page=max(1, number_of(texts.get("page")) or 1),
            values={each.name: texts[each.name] for each in table.filters if texts.get(each.name)},
            within=within or {},
        )

    @property
    def parameters(self) -> dict[str, str]:
        """What filters and sorts in the address of the page, without the number of its page."""
        given = {"search": self.search, **self.values, "order": self.order}
        return {name: value for name, value in given.items() if value}

    @property
    def text(self) -> str:
        """All that filters and sorts, as the address of the list alone has it."""
        return urlencode({**self.within, **self.parameters})

    @property
    def is_filtered(self) -> bool:
        return bool(self.search or self.values)

    def matching(self, by: Actor) -> Rows:
        rows = self.table.rows(by)
        if self.search:
            rows = self.table.searched(by, rows, self.search)
        values = {**self.values, **self.within}
        for each in self.table.filters:
            if each.name in values:
                rows = each.narrowed(by, rows, values[each.name])
        return rows

    def sorted(self, rows: Rows) -> Rows:
        return rows.order_by(*self.table.ordered(self.order or self.table.order))

    def headers(self) -> list[dict[str, str]]:
        """The heads of columns: a link that sorts, and how the column is sorted now."""
        now = self.order or self.table.order
        heads = []
        for column in self.table.columns:
            is_now = now.removeprefix("-") == column.name
            following = f"-{column.name}" if now == column.name else column.name
            heads.append(
                {
                    "label": column.label,
                    "number": "number" if column.is_number else "",
                    "href": "?" + urlencode({**self.parameters, "order": following})
                    if column.order
                    else "",
                    "sorted": ("descending" if now.startswith("-") else "ascending")
                    if is_now
                    else "",
                }
            )
        return heads


def show(request: HttpRequest, by: Actor, table: Table) -> HttpResponse:
    """A page of the list, its rows alone for a search in place, or all that matches as CSV.

    A form saves the filter under a name, or deletes a saved one.
    """
    if request.method == "POST":
        return _saved(request, table)
    query = TableQuery.of(table, request.GET.dict())
    if query.is_secret:
        # Neither the browser's history nor a link of the page keeps it.
        kept = urlencode({**query.parameters, "secret": "1"})
        return redirect(f"{reverse(table.name)}?{kept}")
    matching = query.matching(by)
    if request.GET.get("format") == "csv":
        return _csv(by, query, matching)
    context: dict[str, object] = {
        **_read(by, query, matching),
        "was_secret": request.GET.get("secret") == "1",
        "filters": SimpleLazyObject(
            lambda: [each.field(by, query.values.get(each.name, "")) for each in table.filters]
        ),
        "saved": SimpleLazyObject(
            lambda: saved_filters.of(cast("Member", request.user), table.name)
        ),
    }
    template = "table_rows" if request.htmx else "table"  # type: ignore[attr-defined]  # set by a middleware
    return live.render(request, f"console/{template}.html", context, live.minute())


def part(
    request: HttpRequest, by: Actor, table: Table, within: Mapping[str, str]
) -> dict[str, object]:
    """What the page of another noun needs to show its rows of the list, sorted and paged.

    Whoever changes several of them comes back to that page.
    """
    given = {name: request.GET.get(name, "") for name in ("order", "page")}
    query = TableQuery.of(table, given, within)
    found = _read(by, query, query.matching(by))
    alone = cast("Pager", found["paging"]).total < 2
    return {**found, "alone": alone, "back": request.get_full_path()}


def _read(by: Actor, query: TableQuery, matching: Rows) -> dict[str, object]:
    """The page of a list that a query asks for, as the templates show it."""
    table, total = query.table, matching.count()
    paging = Pager(number=query.page, total=total, filters=query.parameters)
    paging = Pager(number=min(query.page, paging.pages), total=total, filters=query.parameters)
    start = (paging.number - 1) * PER_PAGE
    may_change = table.bulk is not None and by.may_somewhere(Role.EDITOR)

    def rows() -> list[dict[str, Any]]:
        page = list(table.detailed(query.sorted(matching))[start : start + PER_PAGE])
        beside = table.beside(by, page)
        return [
            {
                "pk": row.pk,
                "label": table.label(row),
                "cells": _cells(table, row, beside),
                "may_change": may_change and by.may(Role.EDITOR, table.project(row)),
            }
            for row in page
        ]

    return {
        "table": table,
        "query": query,
        "paging": paging,
        "nouns": ",".join(table.nouns),
        "may_add": by.may_somewhere(Role.EDITOR),
        "ticks": may_change,
        "most": table.bulk.most if table.bulk else 0,
        "csv": "?".join(
            (reverse(table.name), urlencode({**query.within, **query.parameters, "format": "csv"}))
        ),
        # Not read for a page that is still true.
        "rows": SimpleLazyObject(rows),
    }


def _saved(request: HttpRequest, table: Table) -> HttpResponse:
    member = cast("Member", request.user)
    query = TableQuery.of(table, parsed(request.POST.get("query", ""))).text
    number = number_of(request.POST.get("delete"))
    if number is not None:
        saved_filters.delete(member, table.name, number)
    else:
        name = request.POST.get("name", "")
        try:
            saved_filters.save(member, table.name, name, query)
        except Invalid as error:
            messages.error(request, f"The filter was not saved: {error.sentences}.")
        else:
            messages.success(request, f"The filter {name} was saved.")
    return redirect(reverse(table.name) + (f"?{query}" if query else ""))


def _cells(table: Table, row: Model, beside: Any) -> list[tuple[str, str, Cell]]:
    """Label, class and content of each."""
    return [
        (each.label, "number" if each.is_number else "", each.cell(row, beside))
        for each in table.columns
    ]


def _csv(by: Actor, query: TableQuery, matching: Rows) -> HttpResponse:
    """All that matches, in the order that is asked for."""
    table = query.table

    def lines() -> Iterator[list[str]]:
        for ids in _parts(query.sorted(matching).values_list("pk", flat=True)):
            found = table.detailed(table.rows(by).filter(pk__in=ids)).in_bulk()
            page = [found[pk] for pk in ids if pk in found]
            beside = table.beside(by, page)
            for row in page:
                yield [cell.plain for _, _, cell in _cells(table, row, beside)]

    heads = [each.label for each in table.columns]
    response = StreamingHttpResponse(
        csv_export.lines(heads, lines()), content_type="text/csv; charset=utf-8"
    )
    response["Content-Disposition"] = f'attachment; filename="{table.name}.csv"'
    return response  # type: ignore[return-value]  # streamed; the stubs have one kind


def _parts(ids: Iterable[int]) -> Iterator[list[int]]:
    part: list[int] = []
    for pk in ids:
        part.append(pk)
        if len(part) == CSV_ROWS:
            yield part
            part = []
    if part:
        yield part


def parsed(query: str) -> dict[str, str]:
    """The parameters of an address, the last of each name."""
    return dict(parse_qsl(query[:2000], keep_blank_values=False, max_num_fields=50))
