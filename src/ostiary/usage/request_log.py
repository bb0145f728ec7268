"""The request log, read: filters, pages by cursor, what is new, one call by its id."""

import enum
import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, assert_never

from django.db.models import Q, QuerySet

from ostiary.access.addresses import unmapped
from ostiary.access.reasons import Reason, describe
from ostiary.directory.actor import Actor
from ostiary.directory.catalog import collections, endpoints
from ostiary.directory.changes.errors import Invalid, NotFound
from ostiary.directory.clients import access_profiles, clients
from ostiary.directory.models import Client, Collection, Credential
from ostiary.usage import outcomes
from ostiary.usage.models import LoggedCall

CHUNK = 500
#: The newest lines among which a part of a request id is looked for, and the slowest are ranked.
NEWEST = 100_000
NOT_GRANTED = describe(Reason.COLLECTION_NOT_GRANTED).code
NOT_FOUND = describe(Reason.COLLECTION_NOT_FOUND).code


@dataclass(frozen=True, slots=True, kw_only=True)
class Statuses:
    """A status, or a range of them; both ends are in it. -1: no answer was sent."""

    first: int
    last: int


class LogOutcome(enum.StrEnum):
    """What became of calls."""

    REFUSED = "refused"
    #: Admitted, and answered with an error or not at all.
    ERRORS = "errors"
    SLOW = "slow"


class LogOrder(enum.StrEnum):
    NEWEST = "newest"
    OLDEST = "oldest"
    #: Of the newest lines.
    SLOWEST = "slowest"


_ORDERS = {
    LogOrder.NEWEST: ("-at_ms", "-pk"),
    LogOrder.OLDEST: ("at_ms", "pk"),
    LogOrder.SLOWEST: ("-latency_ms", "-pk"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilter:
    """Filters of calls; an empty one filters nothing. Times are Unix milliseconds."""

    start_ms: int = 0
    end_ms: int | None = None
    client_id: int | None = None
    profile_id: int | None = None
    credential_id: int | None = None
    collection_id: int | None = None
    endpoint_id: int | None = None
    outcome: LogOutcome | None = None
    statuses: Statuses | None = None
    #: Codes of `access.reasons`; 0: admitted.
    reasons: frozenset[int] = field(default_factory=frozenset)
    method: str = ""
    request_id: str = ""
    #: The beginning of an id; of the newest lines, any part of it.
    part_of_id: str = ""
    #: The one that a trusted proxy sent.
    caller_request_id: str = ""
    address: str = ""
    least_latency_ms: int | None = None
    order: LogOrder = LogOrder.NEWEST


def statuses(text: str) -> Statuses:
    """`404`, `4xx` or `none`; raises ValueError for anything else."""
    if text == outcomes.NO_ANSWER:
        return Statuses(first=-1, last=99)
    if len(text) == 3 and text[0] in "12345" and text[1:].lower() == "xx":
        return Statuses(first=int(text[0]) * 100, last=int(text[0]) * 100 + 99)
    if len(text) == 3 and text.isascii() and text.isdigit():
        return Statuses(first=int(text), last=int(text))
    raise ValueError("must be a status such as 404, a class such as 4xx, or none")


def address(text: str) -> str:
    """An address in the form that the log has it; raises ValueError for anything else."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError("must be an IPv4 or IPv6 address") from None
    if isinstance(found, ipaddress.IPv6Address) and found.scope_id:
        raise ValueError("must be an address without a zone")
    return str(unmapped(found))


def calls(by: Actor, wanted: LogFilter, *, before: str = "", most: int) -> list[LoggedCall]:
    """Calls that the actor may see, in order; `before` is the cursor of the last that was shown.

    Raises NotFound where a filter names what the actor does not see, Invalid for a bad cursor.
    """
    check(by, wanted)
    found = list(_matching(by, wanted, before)[:most])
    _hide_collections(by, found)
    return found


def arrived(by: Actor, wanted: LogFilter, *, since: int, most: int) -> list[LoggedCall]:
    """Calls that were stored after the line with this number, the youngest first."""
    check(by, wanted)
    found = list(_chosen(by, wanted).filter(pk__gt=since).order_by("-pk")[:most])
    _hide_collections(by, found)
    return found


def latest() -> int:
    """The number of the line that was stored last."""
    return LoggedCall.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def check(by: Actor, wanted: LogFilter) -> None:
    """Raises NotFound where a filter names what the actor does not see."""
    if not by.admin:
        for find, asset in (
            (clients.find, wanted.client_id),
            (access_profiles.find, wanted.profile_id),
            (collections.find, wanted.collection_id),
            (endpoints.find, wanted.endpoint_id),
        ):
            if asset is not None:
                find(by, asset)


def hides_collection(by: Actor, call: LoggedCall) -> bool:
    """Whether the call asked for a collection that `by` may not know of.

    The call then says what its consumer was told: that there is no such collection.
    """
    return bool(_hide_collections(by, [call]))


def _hide_collections(by: Actor, found: Iterable[LoggedCall]) -> list[LoggedCall]:
    """Take hidden collections out of calls; those that had one."""
    asked = [call for call in found if call.reason == NOT_GRANTED]
    if by.sees_all or not asked:
        return []
    ids = {call.collection_id for call in asked}
    known = set(collections.known(by).filter(pk__in=ids).values_list("pk", flat=True))
    hidden = [call for call in asked if call.collection_id not in known]
    for call in hidden:
        call.reason, call.collection_id, call.endpoint_id = NOT_FOUND, 0, 0
    return hidden


def hidden_collection(by: Actor) -> Q:
    """Rows of refused calls for collections that `by` may not know of, told apart by reason."""
    return Q(reason=NOT_GRANTED) & ~Q(collection_id__in=collections.known(by).values("pk"))


def for_reasons(by: Actor, codes: Iterable[int]) -> Q:
    """Rows that have one of these reasons, as `by` is shown them."""
    wanted = frozenset(codes)
    some = Q(reason__in=wanted)
    if by.sees_all:
        return some
    if NOT_GRANTED in wanted and NOT_FOUND not in wanted:
        some &= ~hidden_collection(by)
    if NOT_FOUND in wanted and NOT_GRANTED not in wanted:
        some |= hidden_collection(by)
    return some


def _matching(by: Actor, wanted: LogFilter, before: str) -> QuerySet[LoggedCall]:
    found = _chosen(by, wanted)
    if wanted.order is LogOrder.SLOWEST:
        found = found.filter(at_ms__gte=_newest(found))
    found = found.order_by(*_ORDERS[wanted.order])
    return found.filter(_after(before, wanted.order)) if before else found


def _newest(found: QuerySet[LoggedCall]) -> int:
    """When the oldest of the newest lines ended."""
    times = found.order_by("-at_ms").values_list("at_ms", flat=True)
    return times[NEWEST : NEWEST + 1].first() or 0


def _chosen(by: Actor, wanted: LogFilter) -> QuerySet[LoggedCall]:
    found = LoggedCall.objects.filter(_scope(by))
    if wanted.start_ms:
        found = found.filter(at_ms__gte=wanted.start_ms)
    if wanted.end_ms is not None:
        found = found.filter(at_ms__lt=wanted.end_ms)
    exact: dict[str, Any] = {
        "client_id": wanted.client_id,
        "profile_id": wanted.profile_id,
        "collection_id": wanted.collection_id,
        "endpoint_id": wanted.endpoint_id,
        "method": wanted.method or None,
        "request_id": wanted.request_id or None,
        "address": wanted.address or None,
        "latency_ms__gte": wanted.least_latency_ms,
    }
    found = found.filter(**{name: value for name, value in exact.items() if value is not None})
    if wanted.caller_request_id:
        found = found.filter(details__caller_request_id=wanted.caller_request_id)
    if wanted.statuses is not None:
        one = wanted.statuses.first == wanted.statuses.last
        span = {"status": wanted.statuses.first}
        if not one:
            span = {"status__gte": wanted.statuses.first, "status__lte": wanted.statuses.last}
        found = found.filter(**span)
    if wanted.reasons:
        found = found.filter(for_reasons(by, wanted.reasons))
    if wanted.outcome is not None:
        found = found.filter(_of_outcome(wanted.outcome))
    if wanted.credential_id is not None:
        found = found.filter(_of_credential(wanted.credential_id))
    if wanted.part_of_id:
        found = found.filter(_with_part(wanted.part_of_id))
    return found


def _of_outcome(outcome: LogOutcome) -> Q:
    """By an index: of lines that failed, or that were slow."""
    match outcome:
        case LogOutcome.REFUSED:
            return Q(status__failing=True) & ~Q(reason__in=outcomes.ADMITTED_CODES)
        case LogOutcome.ERRORS:
            return Q(status__failing=True) & Q(reason__in=outcomes.ADMITTED_CODES)
        case LogOutcome.SLOW:
            return Q(latency_ms__slow=True)
        case _:
            assert_never(outcome)


def _of_credential(credential_id: int) -> Q:
    """Its profile leads to its lines by an index, as long as that is known."""
    known = Credential.objects.filter(pk=credential_id).values_list("profile_id", flat=True)
    of_profile = Q(profile_id=known[0]) if known else Q()
    return of_profile & Q(credential_id=credential_id)


#: The tail of an id, as rows show it: number of the connection, and of the request on it.
_TAIL = re.compile(r"\d+-\d+")


def _with_part(part: str) -> Q:
    """Ids that begin like this, by an index; else those of the newest lines that hold it."""
    begins = Q(request_id__gte=part, request_id__lt=part + "\U0010ffff")
    if LoggedCall.objects.filter(begins).exists():
        return begins
    newest = Q(at_ms__gte=_newest(LoggedCall.objects.all()))
    if _TAIL.fullmatch(part):
        return newest & Q(request_id__endswith=f"-{part}")
    return newest & Q(request_id__contains=part)


def named_like(by: Actor, part: str, *, most: int) -> list[LoggedCall]:
    """Calls whose request id is or holds `part`, the newest first: for the search of everything."""
    return calls(by, LogFilter(part_of_id=part), most=most)


def cursor(call: LoggedCall, order: LogOrder = LogOrder.NEWEST) -> str:
    """The cursor of a page that ends with this call."""
    return f"{call.latency_ms if order is LogOrder.SLOWEST else call.at_ms}-{call.pk}"


def every(by: Actor, wanted: LogFilter, *, most: int) -> Iterator[LoggedCall]:
    """The calls, page by page: no transaction stays open while a slow reader reads."""
    before, left = "", most
    while left > 0:
        page = calls(by, wanted, before=before, most=min(CHUNK, left))
        yield from page
        if len(page) < CHUNK:
            return
        before, left = cursor(page[-1], wanted.order), left - len(page)


def find(by: Actor, request_id: str) -> LoggedCall:
    """The call with this id; raises NotFound."""
    found = calls(by, LogFilter(request_id=request_id[:40]), most=1) if request_id else []
    if not found:
        raise NotFound("call")
    return found[0]


def _after(before: str, order: LogOrder) -> Q:
    first, _, pk = before.partition("-")
    numbers = [int(t) for t in (first, pk) if t.isascii() and t.isdigit() and len(t) < 19]
    if len(numbers) != 2:
        raise Invalid({"cursor": ["isn't a cursor that this API returned"]})
    value, last = numbers
    # The first term alone finds the place in an index; the second leaves out what was shown.
    match order:
        case LogOrder.NEWEST:
            return Q(at_ms__lte=value) & (Q(at_ms__lt=value) | Q(pk__lt=last))
        case LogOrder.OLDEST:
            return Q(at_ms__gte=value) & (Q(at_ms__gt=value) | Q(pk__gt=last))
        case LogOrder.SLOWEST:
            return Q(latency_ms__lte=value) & (Q(latency_ms__lt=value) | Q(pk__lt=last))
        case _:
            assert_never(order)


def _scope(by: Actor) -> Q:
    if by.admin:
        return Q()
    if by.sees_all:
        return ~Q(client_id=0, collection_id=0)
    own = Client.objects.visible_to(by).values("pk")
    own_collections = Collection.objects.visible_to(by).values("pk")
    return Q(client_id__in=own) | Q(client_id=0, collection_id__in=own_collections)
