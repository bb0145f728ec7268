"""**API platform > Endpoints**: the endpoints of every collection, and many of them switched at once."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet
from django.urls import reverse

from ostiary.access.paths import ENDPOINT_METHODS
from ostiary.console.frame import table_changes
from ostiary.console.frame.bulk import Action, BulkPlan
from ostiary.console.frame.table_values import (
    daily_requests,
    requests_cell,
    state_cell,
    state_choices,
    taken,
)
from ostiary.console.frame.tables import (
    Cell,
    ChoiceFilter,
    NamedFilter,
    Rows,
    Table,
    TableColumn,
)
from ostiary.console.sign_in.table_views import views
from ostiary.directory import states
from ostiary.directory.actor import Actor
from ostiary.directory.catalog import collections, endpoints
from ostiary.directory.changes import finding
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.models import Endpoint
from ostiary.directory.projects import projects
from ostiary.usage import queries


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointFigures:
    """What the table shows of its rows that is not in the directory."""

    calls: Mapping[int, Sequence[int]]


def rows(by: Actor) -> QuerySet[Endpoint]:
    return Endpoint.objects.visible_to(by)


def _beside(by: Actor, found: Sequence[Endpoint]) -> EndpointFigures:
    ids, now = [each.pk for each in found], int(time.time())
    return EndpointFigures(calls=daily_requests(by, queries.By.ENDPOINT, ids, now))


def _searched(by: Actor, found: Rows, text: str) -> Rows:
    """By name or path, also as consumers write it: below the collection's handle."""
    handle, slash, rest = text.strip("/").partition("/")
    if text.startswith("/") and slash:
        below = Q(collection__handle=handle, path__icontains=f"/{rest}")
        return found.filter(below | Q(path__icontains=text))
    return finding.with_words(found, text, ("name", "path", "collection__handle"), labelled=True)


def _path(each: Endpoint) -> str:
    return f"/{each.collection.handle}{each.path}"


def _methods() -> Mapping[str, tuple[str, Q]]:
    return {each: (each, Q(method=each)) for each in ENDPOINT_METHODS}


class EndpointBulk:
    """Many endpoints can be switched, of however many collections."""

    most = 1000
    actions: Mapping[str, Action] = {
        "activate": Action(name="activate", label="Activate", done="activated"),
        "deactivate": Action(
            name="deactivate", label="Deactivate", done="deactivated", is_dangerous=True,
            meaning="Their requests are answered 404 until they are activated again.",
        ),
    }  # fmt: skip

    def plan(self, by: Actor, action: Action, value: str, ids: Sequence[int]) -> BulkPlan:
        active = action.name == "activate"
        chosen = list(rows(by).filter(pk__in=ids).select_related("collection").order_by("pk"))
        changed = [each for each in chosen if each.active != active]
        pks = [each.pk for each in changed]
        return BulkPlan(
            changed=[(each.pk, f"{each.method} {_path(each)}") for each in changed],
            same=len(chosen) - len(changed),
            sentences=[taken(by, queries.By.ENDPOINT, pks, "They")] if pks else [],
        )

    def apply(self, by: Actor, action: Action, value: str, ids: Sequence[int]) -> Saved[Any]:
        return endpoints.switch_many(by=by, endpoint_ids=ids, active=action.name == "activate")


TABLE = Table(
    name="endpoints",
    title="Endpoints",
    nouns=("endpoint", "endpoints"),
    placeholder="Name, path or label:value",
    rows=rows,
    searched=_searched,
    columns=(
        TableColumn(name="method", label="Method", cell=lambda each, _: Cell(text=each.method)),
        TableColumn(
            name="path", label="Path", order=("collection__handle", "path", "method", "pk"),
            cell=lambda each, _: Cell(
                text=_path(each), is_code=True,
                href=table_changes.address("usage", endpoint=str(each.pk)),
            ),
        ),
        TableColumn(
            name="name", label="Name", order=("name", "pk"),
            cell=lambda each, _: Cell(text=each.name if each.name != each.path else ""),
        ),
        TableColumn(
            name="collection", label="API collection",
            cell=lambda each, _: Cell(
                text=each.collection.name, href=reverse("collection", args=[each.collection_id])
            ),
        ),
        TableColumn(
            name="state", label="State", cell=lambda each, _: state_cell(states.of_endpoint(each)),
        ),
        TableColumn(
            name="calls", label="Requests, 7 days", is_number=True,
            cell=lambda each, beside: requests_cell(beside.calls, each.pk),
        ),
        TableColumn(
            name="weight", label="Counts as", is_number=True,
            cell=lambda each, _: Cell(text=f"{each.weight:,}"),
        ),
    ),
    filters=(
        ChoiceFilter(name="state", label="State", values=lambda: state_choices(states.endpoint_conditions())),
        ChoiceFilter(name="method", label="Method", values=_methods),
        NamedFilter(
            name="collection", label="API collection", objects=collections.collections,
            having=lambda found, ids: found.filter(collection__in=ids),
        ),
        NamedFilter(
            name="project", label="Project", objects=projects.projects,
            having=lambda found, ids: found.filter(collection__project__in=ids),
        ),
    ),
    order="path",
    detailed=lambda found: found.select_related("collection", "recipe"),
    beside=_beside,
    label=lambda each: f"{each.method} {_path(each)}",
    project=lambda each: int(each.collection.project_id),
    bulk=EndpointBulk(),
    empty="Endpoints are added on the page of an API collection, by hand or from an OpenAPI document.",
)  # fmt: skip


listing, change = views(TABLE)
