"""Changing many rows of a table: one preview, which is a page of its own, and one receipt.

The preview is asked for by an address and changes nothing. What was previewed is what is changed: the
form carries the numbers of the rows, also where all that match were chosen.
"""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from ostiary.console.frame import bulk
from ostiary.console.frame.listing import number_of
from ostiary.console.frame.questions import is_own
from ostiary.console.frame.saving import in_force
from ostiary.console.frame.tables import Table, TableQuery, parsed
from ostiary.directory.actor import Actor
from ostiary.directory.changes.confirmation import Unfinished
from ostiary.directory.changes.errors import Invalid

#: Names that a page of many shows; how many more there are is said.
MOST_NAMES: Final = 100
#: Receipts that a session keeps.
MOST_RECEIPTS: Final = 10
#: Characters of the numbers that an address carries: a receipt is found by them.
LONGEST_IDS: Final = 200_000
LONGEST_ADDRESS: Final = 500


def change(request: HttpRequest, by: Actor, table: Table) -> HttpResponse:
    """What an action would do to the chosen rows, and with a form the deed."""
    if table.bulk is None:
        raise Http404
    return _done(request, by, table) if request.method == "POST" else _asked(request, by, table)


def _asked(request: HttpRequest, by: Actor, table: Table) -> HttpResponse:
    assert table.bulk is not None  # noqa: S101 - asked before
    action = table.bulk.actions.get(request.GET.get("what", ""))
    if action is None:
        raise Http404
    query = TableQuery.of(table, parsed(request.GET.get("filter", "")))
    back = _back(request.GET.get("back", ""), query)
    ids, problem = _chosen(request, by, table, query)
    if problem:
        messages.error(request, problem)
        return redirect(back)
    value = request.GET.get("value", "").strip()
    context: dict[str, Any] = {
        "table": table,
        "action": action,
        "back": back,
        "filter": query.text,
        "chosen": len(ids),
        "ids": bulk.written(ids),
        "value": value,
        "nouns": ",".join(table.nouns),
        "given": [(n, v) for n in ("what", "filter", "all", "back") if (v := request.GET.get(n))],
        "ticked": request.GET.getlist("id"),
    }
    if action.value and not value:
        context["choices"] = list(action.choices(by)) if action.choices else None
        return render(request, "console/table_value.html", context)
    try:
        plan = table.bulk.plan(by, action, value, ids)
    except Invalid as error:
        context |= {
            "problem": error.sentences,
            "choices": list(action.choices(by)) if action.choices else None,
        }
        return render(request, "console/table_value.html", context, status=400)
    context |= {
        "plan": plan,
        "ids": bulk.written(pk for pk, _ in plan.changed),
        "names": [name for _, name in plan.changed[:MOST_NAMES]],
        "more": max(0, len(plan.changed) - MOST_NAMES),
        "refused": plan.refused[:MOST_NAMES],
        "more_refused": max(0, len(plan.refused) - MOST_NAMES),
    }
    return render(request, "console/table_change.html", context)


def _chosen(
    request: HttpRequest, by: Actor, table: Table, query: TableQuery
) -> tuple[Sequence[int], str]:
    """The numbers of the rows that are ticked, or of all that match; or why there are none."""
    assert table.bulk is not None  # noqa: S101 - asked before
    most = table.bulk.most
    if request.GET.get("all") == "1":
        ids = list(query.matching(by).order_by("pk").values_list("pk", flat=True)[: most + 1])
        if len(ids) > most:
            return (), f"At most {most:,} can be changed at once. Narrow the filter first."
    else:
        ids = [number for text in request.GET.getlist("id") if (number := number_of(text))]
    return ids, "" if ids else f"Choose at least one {table.nouns[0]}."


def _back(named: str, query: TableQuery) -> str:
    """The page of the console that the rows were chosen on, or the list."""
    if is_own(named[:LONGEST_ADDRESS]):
        return named[:LONGEST_ADDRESS]
    return reverse(query.table.name) + (f"?{query.text}" if query.text else "")


def _done(request: HttpRequest, by: Actor, table: Table) -> HttpResponse:
    assert table.bulk is not None  # noqa: S101 - asked before
    action = table.bulk.actions.get(request.POST.get("what", ""))
    ids = bulk.read(request.POST.get("ids", "")[:LONGEST_IDS], most=table.bulk.most)
    if action is None or not ids:
        raise Http404
    query = TableQuery.of(table, parsed(request.POST.get("filter", "")))
    back = _back(request.POST.get("back", ""), query)
    value = request.POST.get("value", "").strip()
    try:
        plan = table.bulk.plan(by, action, value, ids)
        saved = table.bulk.apply(by, action, value, ids)
    except Invalid as error:
        messages.error(request, f"Nothing was changed: {error.sentences}")
        return redirect(back)
    except Unfinished as error:
        changed = len(error.saved.value)
        in_force(request, error.saved)
        text = (
            f"{_many(changed, table)} {action.done}, and then it stopped: {error.why}. "
            f"The other {len(ids) - changed:,} are as they were."
        )
        messages.error(request, text)
        return redirect(back)
    receipt = {
        "what": f"{_many(len(plan.changed), table)} {action.done}",
        "title": table.title,
        "in_force": in_force(request, saved),
        "names": [name for _, name in plan.changed[:MOST_NAMES]],
        "more": max(0, len(plan.changed) - MOST_NAMES),
        "same": plan.same,
        "back": back,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    number = secrets.token_urlsafe(9)
    receipts: dict[str, Any] = request.session.get("receipts", {})
    kept = list(receipts.items())[-MOST_RECEIPTS + 1 :]
    request.session["receipts"] = {**dict(kept), number: receipt}
    return redirect("receipt", number)


def receipt(request: HttpRequest, number: str) -> HttpResponse:
    """What was done; for the session that did it."""
    found = request.session.get("receipts", {}).get(number)
    if found is None:
        raise Http404
    found = {**found, "at": datetime.fromisoformat(found["at"])}
    return render(request, "console/receipt.html", {"receipt": found})


def _many(number: int, table: Table) -> str:
    return f"{number:,} {table.nouns[0] if number == 1 else table.nouns[1]}"


def address(page: str, **parameters: str) -> str:
    """The address of a page with a filter, by the page's name."""
    return f"{reverse(page)}?{urlencode(parameters)}"
