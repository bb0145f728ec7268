"""Time ranges and formats that usage and the request log are asked for with."""

import enum
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from pydantic import AwareDatetime, BeforeValidator, Field

from ostiary.access.reasons import Reason
from ostiary.api.answers import Id, Strict
from ostiary.directory.changes.errors import Invalid
from ostiary.usage import outcomes

#: Lines of a CSV: what a spreadsheet takes.
MOST_LINES = 1_000_000
#: How far back it is looked unless `from` says otherwise.
DEFAULT = timedelta(days=30)
_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt]")
_REASONS = "|".join([outcomes.NO_ANSWER, *(reason.value for reason in Reason)])
CSV: dict[str, Any] = {
    "responses": {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}
}


class Format(enum.StrEnum):
    JSON = "json"
    CSV = "csv"


def _asked_time(value: object) -> object:
    """A `+` in an address that was not encoded comes as a blank: `…T00:00:00 02:00`."""
    told = "must be a time such as 2026-01-31T12:00:00Z"
    if not isinstance(value, str) or not _ISO.match(value):
        raise ValueError(told)
    return f"{value[:-6]}+{value[-5:]}" if value[-6:-5] == " " else value


When = Annotated[AwareDatetime, BeforeValidator(_asked_time)]


class Range(Strict):
    """From when to before when, ISO 8601 with an offset, and what of it."""

    from_: When | None = Field(None, alias="from")
    to: When | None = None
    client_id: Id | None = None
    access_profile_id: Id | None = None
    api_collection_id: Id | None = None
    api_endpoint_id: Id | None = None
    #: The name of a reason; `none`: admitted.
    reason: str | None = Field(None, pattern=f"^({_REASONS})$")
    format: Format = Format.JSON


def seconds_of(query: Range, now: int) -> tuple[float, float]:
    """Unix seconds; raises Invalid."""
    latest = datetime.fromtimestamp(now + 60, UTC)
    try:
        end = min(query.to, latest) if query.to else latest
        start = query.from_ or end - DEFAULT
        seconds = start.timestamp(), end.timestamp()
    except (OverflowError, ValueError):
        raise Invalid({"from": ["must be a time of this century"]}) from None
    if seconds[0] < 0:
        raise Invalid({"from": ["must be a time of this century"]})
    return seconds


def wants_csv(request: HttpRequest, given: Format) -> bool:
    return given == Format.CSV or request.headers.get("Accept", "").startswith("text/csv")


def csv_answer(name: str, lines: Iterable[str]) -> HttpResponse:
    response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return response  # type: ignore[return-value]  # streamed; the stubs have one kind
