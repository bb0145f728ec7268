"""Lists: one way to find, sort and page for all nouns.

The query of a list declares what its noun has: texts that are searched, filters by reference and state,
and columns to sort by. What it does with them is the same for all.
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, Generic, TypeVar

from django.db import models
from django.http import HttpRequest, HttpResponse
from pydantic import AfterValidator, BeforeValidator, Field

from ostiary.api.answers import LARGEST_ID, Page, Paging, S
from ostiary.directory.changes import finding
from ostiary.directory.changes.errors import Invalid, Problem
from ostiary.directory.changes.inputs import AnyTime, Checked, OneOf, refusal
from ostiary.directory.changes.keys import LONGEST_VALUE, is_label_name
from ostiary.directory.states import Conditions, StateCode
from ostiary.directory.workspace import public_urls

M = TypeVar("M", bound=models.Model)

LONGEST_CURSOR: Final = 2000
MOST_LABELS: Final = 8


def _true_or_false(value: object) -> object:
    if value not in {"true", "false", "1", "0", True, False, None}:
        raise ValueError("must be true or false")
    return value


def _in_utc(value: datetime) -> datetime:
    """The same time in UTC, as the database needs it; raises ValueError beyond the years 1 to 9999."""
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("is too far away") from None


def _in_utc_if_any(value: datetime | None) -> datetime | None:
    return None if value is None else _in_utc(value)


class _Label(Checked):
    """`name:value`, or a name alone."""

    names_value = True

    def checked(self, value: object) -> str:
        if not isinstance(value, str) or len(value) > LONGEST_VALUE + 64 or "\x00" in value:
            raise refusal("label", "must be a label such as team:payments")
        if not is_label_name(value.partition(":")[0]):
            raise refusal("label", f"{value[:80]!r} isn't a label such as team:payments")
        return value


class _Word(Checked):
    """A text that stands in a column as it is."""

    def checked(self, value: object) -> str:
        if not isinstance(value, str) or "\x00" in value or len(value) > 600:
            raise refusal("type", "must be a text of at most 600 characters")
        return value


#: Filters. None: not asked for.
IdFilter = Annotated[int | None, Field(ge=1, le=LARGEST_ID)]
FlagFilter = Annotated[bool | None, BeforeValidator(_true_or_false)]
TextFilter = Annotated[str | None, _Word()]
TimeFilter = Annotated[datetime | None, AnyTime(), AfterValidator(_in_utc_if_any)]
SearchText = Annotated[str, _Word(), Field(max_length=100)]


def among(conditions: Callable[[], Conditions]) -> OneOf:
    """The effective states that a noun can have."""
    return OneOf(list(conditions()), named=True)


def sorts(*columns: str) -> OneOf:
    """The orders that a list has: by each column, and with `-` from the end."""
    return OneOf([order for column in columns for order in (column, f"-{column}")], named=True)


#: How nearly every noun can be sorted.
BY_NAME: Final = sorts("id", "name", "created_at", "updated_at")


class ListParameters(Paging):
    """Base of the queries of all lists: by page, or from a cursor on."""

    #: Columns that `search` looks into.
    searched: ClassVar[tuple[str, ...]] = ("name",)
    #: Where a filter or an order is found, if not in the column of its name.
    columns: ClassVar[Mapping[str, str]] = {}
    #: Fields of the query that choose no rows.
    apart: ClassVar[frozenset[str]] = frozenset(
        {"page", "per_page", "cursor", "sort", "search", "label", "wrap", "key"}
    )
    #: Conditions of the effective states of the noun, if it has any.
    conditions: ClassVar[Callable[[], Conditions]] = dict
    #: The column of the key, if the noun has one.
    key_column: ClassVar[str] = "key"

    search: SearchText = Field(
        "",
        description="Rows with each word in one of the texts that the list shows.",
    )
    sort: Annotated[str, sorts("id")] = "id"
    cursor: str = Field(
        "",
        max_length=LONGEST_CURSOR,
        description="`next_cursor` (or `X-Next-Cursor`) of the rows before.",
    )

    def narrowed(self, found: models.QuerySet[M]) -> models.QuerySet[M]:
        """The rows that fit all filters."""
        if self.search:
            found = finding.with_words(found, self.search, self.searched)
        for name in type(self).model_fields:
            value = getattr(self, name)
            if name == "effective_state" and value is not None:
                found = found.filter(type(self).conditions()[StateCode(value)])
            elif name not in self.apart and value is not None:
                found = self.filtered(found, name, value)
        return found

    def filtered(self, found: models.QuerySet[M], name: str, value: object) -> models.QuerySet[M]:
        """The rows that fit one filter."""
        return found.filter(**{self.columns.get(name, name): value})


class DatedQuery(ListParameters):
    """Base of the queries of nouns that have times."""

    columns: ClassVar[Mapping[str, str]] = {
        "created_after": "created_at__gt",
        "updated_after": "updated_at__gt",
    }
    sort: Annotated[str, BY_NAME] = "id"
    created_after: TimeFilter = Field(None, description="Rows that were made after this time.")
    updated_after: TimeFilter = Field(
        None,
        description="Rows that were changed after this time, or made.",
    )

    def filtered(self, found: models.QuerySet[M], name: str, value: object) -> models.QuerySet[M]:
        column = self.columns.get(name) or DatedQuery.columns.get(name, name)
        return found.filter(**{column: value})


class LabelledQuery(DatedQuery):
    """Base of the queries of nouns that have a key and labels."""

    searched: ClassVar[tuple[str, ...]] = ("name", "description", "key")
    key: Annotated[str | None, _Word(), Field(max_length=600)] = Field(
        None,
        description="The row with this key: one, or in several projects one of each.",
    )
    label: list[Annotated[str, _Label()]] = Field(
        [],
        max_length=MOST_LABELS,
        description="Rows with this label: `name:value`, or a name alone; repeated, with all of them.",
    )

    def narrowed(self, found: models.QuerySet[M]) -> models.QuerySet[M]:
        found = super().narrowed(found)
        for label in self.label:
            found = finding.with_label(found, label)
        return found if self.key is None else self.with_key(found, self.key)

    def with_key(self, found: models.QuerySet[M], key: str) -> models.QuerySet[M]:
        return found.filter(**{self.key_column: key})


class CursorPage(Page[S], Generic[S]):
    """One page of a list, how many there are in all, and where the next rows begin."""

    #: Give it as `cursor` for the rows after these; null: there are none.
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows(Generic[M]):
    """The rows of one answer, and how it goes on."""

    rows: list[M]
    count: int
    next_cursor: str | None


def read(found: models.QuerySet[M], query: ListParameters) -> Rows[M]:
    """The rows that a query asks for; raises Invalid for a cursor of another list."""
    fitting = query.narrowed(found)
    column = _column(query)
    wanted = _ordered(fitting, query, column)
    start = 0 if query.cursor else (query.page - 1) * query.per_page
    # First the ids, which an index has; then what is shown, of this page alone.
    names = ("pk",) if column == "pk" else (column, "pk")
    chosen = list(wanted.values_list(*names)[start : start + query.per_page + 1])
    shown = chosen[: query.per_page]
    by_id = found.in_bulk([each[-1] for each in shown])
    more = len(chosen) > query.per_page
    return Rows(
        rows=[by_id[each[-1]] for each in shown if each[-1] in by_id],
        count=fitting.order_by().count(),
        next_cursor=_cursor(query.sort, shown[-1]) if more else None,
    )


def bare(
    request: HttpRequest, response: HttpResponse, found: models.QuerySet[M], query: ListParameters
) -> list[M]:
    """The rows of a list that is answered as a bare array; headers say the rest."""
    answer = read(found, query)
    _say(request, response, query, answer)
    return answer.rows


def paged(
    request: HttpRequest,
    response: HttpResponse,
    found: models.QuerySet[M],
    query: ListParameters,
    shown: Callable[[M], dict[str, Any]],
) -> dict[str, Any]:
    """The rows of a list as `CursorPage` has them."""
    return paged_together(
        request, response, found, query, lambda rows: [shown(each) for each in rows]
    )


def paged_together(
    request: HttpRequest,
    response: HttpResponse,
    found: models.QuerySet[M],
    query: ListParameters,
    shown: Callable[[list[M]], list[dict[str, Any]]],
) -> dict[str, Any]:
    """As `paged`, for rows that are shown by queries about all of them."""
    answer = read(found, query)
    _say(request, response, query, answer)
    return {
        "data": shown(answer.rows),
        "count": answer.count,
        "page": query.page,
        "per_page": query.per_page,
        "next_cursor": answer.next_cursor,
    }


def _column(query: ListParameters) -> str:
    name = query.sort.removeprefix("-")
    return "pk" if name == "id" else query.columns.get(name, name)


def _ordered(found: models.QuerySet[M], query: ListParameters, column: str) -> models.QuerySet[M]:
    """In the order that is asked for, equal ones by id; from the cursor on if there is one."""
    sign = "-" if query.sort.startswith("-") else ""
    if query.cursor:
        found = _after(found, query, column, "lt" if sign else "gt")
    names = ["pk"] if column == "pk" else [column, "pk"]
    return found.order_by(*(f"{sign}{name}" for name in names))


def _after(
    found: models.QuerySet[M], query: ListParameters, column: str, beyond: str
) -> models.QuerySet[M]:
    value, pk = _place(query, column)
    if column == "pk":
        return found.filter(**{f"pk__{beyond}": pk})
    # The first condition alone would do, but no index could be used for the second.
    later = models.Q(**{f"{column}__{beyond}": value}) | models.Q(
        **{column: value, f"pk__{beyond}": pk}
    )
    return found.filter(**{f"{column}__{beyond}e": value}).filter(later)


def _cursor(sort: str, last: tuple[Any, ...]) -> str:
    value = last[0].isoformat() if isinstance(last[0], datetime) else last[0]
    text = json.dumps([sort, value, last[-1]], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _place(query: ListParameters, column: str) -> tuple[object, int]:
    """The value and the id of the row that a cursor stands for."""
    try:
        padded = query.cursor + "=" * (-len(query.cursor) % 4)
        sort, value, pk = json.loads(base64.urlsafe_b64decode(padded.encode()))
    except (ValueError, binascii.Error, TypeError):
        sort = value = pk = None
    timed = column.endswith("_at") or column == "at"
    try:
        value = _in_utc(datetime.fromisoformat(value)) if timed else value
        str(value).encode()
    except (ValueError, TypeError):
        value = None
    wrong = type(pk) is not int or not 0 < pk < 2**63
    wrong = wrong or not isinstance(value, (str, datetime, int)) or "\x00" in str(value)
    if wrong or sort != query.sort:
        sentence = "isn't a cursor of this list in this order"
        raise Invalid([Problem(field="cursor", code="cursor", sentence=sentence)])
    if "page" in query.model_fields_set:
        sentence = "can't be given with a page: it is one or the other"
        raise Invalid([Problem(field="cursor", code="cursor", sentence=sentence)])
    return value, pk


def _say(
    request: HttpRequest, response: HttpResponse, query: ListParameters, answer: Rows[M]
) -> None:
    """The total and the links, in headers."""
    response["X-Total-Count"] = str(answer.count)
    if answer.next_cursor is not None:
        response["X-Next-Cursor"] = answer.next_cursor
    response["Link"] = ", ".join(
        f'<{_url(request, **place)}>; rel="{rel}"' for rel, place in _links(query, answer)
    )


def _links(query: ListParameters, answer: Rows[M]) -> Iterable[tuple[str, dict[str, str]]]:
    yield "first", {"page": "1"}
    if query.cursor or "page" not in query.model_fields_set:
        if answer.next_cursor is not None:
            yield "next", {"cursor": answer.next_cursor}
        return
    last = max(1, -(-answer.count // query.per_page))
    if query.page > 1:
        yield "prev", {"page": str(min(query.page - 1, last))}
    if query.page < last:
        yield "next", {"page": str(query.page + 1)}
    yield "last", {"page": str(last)}


def _url(request: HttpRequest, **place: str) -> str:
    """The address of another part of the list."""
    asked = request.GET.copy()
    for name in ("page", "cursor"):
        asked.pop(name, None)
    asked.update(place)
    return f"{public_urls.console_url()}{request.path}?{asked.urlencode()}"
