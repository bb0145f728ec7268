"""The list of **API platform > Clients**, and many clients switched at once."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from ostiary.console.frame import table_changes
from ostiary.console.frame.bulk import Action, BulkPlan
from ostiary.console.frame.table_values import (
    daily_requests,
    moment,
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
from ostiary.directory.changes import finding
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.clients import client_bulk, clients
from ostiary.directory.models import AccessProfile
from ostiary.directory.projects import projects
from ostiary.usage import queries


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientFigures:
    """What the table shows of its rows that is not in the directory."""

    calls: Mapping[int, Sequence[int]]


def _beside(by: Actor, found: Sequence[Any]) -> ClientFigures:
    ids = [each.pk for each in found]
    now = int(time.time())
    return ClientFigures(calls=daily_requests(by, queries.By.CLIENT, ids, now))


class ClientBulk:
    """Many clients can be switched, as the management API does it."""

    most = client_bulk.MOST
    actions: Mapping[str, Action] = {
        "activate": Action(name="activate", label="Activate", done="activated"),
        "deactivate": Action(
            name="deactivate", label="Deactivate", done="deactivated", is_dangerous=True,
            meaning="Requests of all their access profiles are refused until they are activated again.",
        ),
    }  # fmt: skip

    def plan(self, by: Actor, action: Action, value: str, ids: Sequence[int]) -> BulkPlan:
        active = action.name == "activate"
        chosen = list(clients.clients(by).filter(pk__in=ids))
        changed = [each for each in chosen if client_bulk.is_changed(each, active=active)]
        pks = [each.pk for each in changed]
        said = []
        if pks:
            profiles = AccessProfile.objects.filter(client__in=pks).count()
            said = [
                f"Access profiles of these clients: {profiles:,}.",
                taken(by, queries.By.CLIENT, pks, "They"),
            ]
        return BulkPlan(
            changed=[(each.pk, each.name) for each in changed],
            same=len(chosen) - len(changed),
            sentences=said,
        )

    def apply(self, by: Actor, action: Action, value: str, ids: Sequence[int]) -> Saved[Any]:
        given = client_bulk.SwitchInput.of(client_ids=list(ids), active=action.name == "activate")
        return client_bulk.switch(by=by, given=given)


def _searched(by: Actor, found: Rows, text: str) -> Rows:
    return finding.with_words(found, text, ("name", "key"), labelled=True)


TABLE = Table(
    name="clients",
    title="Clients",
    nouns=("client", "clients"),
    placeholder="Name, key or label:value",
    rows=clients.clients,
    searched=_searched,
    columns=(
        TableColumn(
            name="name", label="Client", order=("name", "pk"),
            cell=lambda each, _: Cell(
                text=each.name, href=reverse("client", args=[each.pk]), logo=each
            ),
        ),
        TableColumn(
            name="state", label="State", cell=lambda each, _: state_cell(states.of_client(each))
        ),
        TableColumn(
            name="project", label="Project", cell=lambda each, _: Cell(text=each.project.name)
        ),
        TableColumn(
            name="profiles", label="Access profiles", is_number=True,
            cell=lambda each, _: Cell(
                text=f"{each.profile_count:,}",
                href=table_changes.address("access-profiles", client=str(each.pk)),
            ),
        ),
        TableColumn(
            name="calls", label="Requests, 7 days", is_number=True,
            cell=lambda each, beside: requests_cell(beside.calls, each.pk),
        ),
        TableColumn(
            name="created", label="Date added", order=("pk",),
            cell=lambda each, _: moment(each.created_at, ""),
        ),
    ),
    filters=(
        ChoiceFilter(name="state", label="State", values=lambda: state_choices(states.client_conditions())),
        NamedFilter(
            name="project", label="Project", objects=projects.projects,
            having=lambda found, ids: found.filter(project__in=ids),
        ),
    ),
    order="name",
    detailed=clients.with_counts,
    beside=_beside,
    label=lambda each: str(each.name),
    bulk=ClientBulk(),
    new=("new-client", "New client"),
    empty="A client is a group of people or programs that call your APIs, such as the members of one"
    " organization. Add one, then give it an access profile.",
)  # fmt: skip


listing, change = views(TABLE)
