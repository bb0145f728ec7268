"""**API platform > Access profiles**: every profile that its reader may see, and many of them changed at once."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, Prefetch, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from ostiary.access.limits import QUOTA
from ostiary.access.methods import AuthMethod
from ostiary.console.clients.access_profiles import METHODS
from ostiary.console.clients.previews import sentences
from ostiary.console.frame import table_changes
from ostiary.console.frame.bulk import Action, BulkPlan, last_day
from ostiary.console.frame.listing import number_of
from ostiary.console.frame.table_values import (
    credential_name,
    daily_requests,
    expiry,
    last_used,
    moment,
    requests_cell,
    state_cell,
    state_choices,
)
from ostiary.console.frame.tables import (
    Cell,
    ChoiceFilter,
    NamedFilter,
    Rows,
    RowSwitch,
    Table,
    TableColumn,
)
from ostiary.console.sign_in.table_views import views
from ostiary.console.sign_in.viewer import page
from ostiary.directory import search, states
from ostiary.directory.actor import Actor
from ostiary.directory.catalog import collections
from ostiary.directory.changes import finding
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.clients import (
    address_lists,
    clients,
    credentials,
    listed_networks,
    policies,
    profile_bulk,
)
from ostiary.directory.models import AccessProfile, Collection
from ostiary.review import limits_used, preview
from ostiary.review.limits_used import Used
from ostiary.usage import queries

#: Credentials that begin alike and are looked up one by one.
MOST_ALIKE = 1000
#: Methods in the narrow column of a list.
SHORT_METHODS = {
    AuthMethod.TOKEN: "Token",
    AuthMethod.OAUTH2: "OAuth 2.0",
    AuthMethod.JWT: "JWT",
    AuthMethod.OIDC: "OpenID",
}
#: Collections of a profile that are named in its row; it says how many more there are.
MOST_COLLECTIONS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What the table shows of its rows that is not in the directory."""

    calls: Mapping[int, Sequence[int]]
    used: Mapping[int, tuple[Used, ...]]
    seen: frozenset[int]
    now: datetime


def rows(by: Actor) -> QuerySet[AccessProfile]:
    return AccessProfile.objects.visible_to(by)


def _detailed(found: Rows) -> Rows:
    named = Collection.objects.only("pk", "name").order_by("name")
    found = found.select_related("client", "policy")
    found = found.defer("client__logo_small", "client__logo_medium", "client__description")
    return found.prefetch_related(Prefetch("collections", queryset=named))


def _searched(by: Actor, found: Rows, text: str) -> Rows:
    """By address where the text is one, else by what credentials show, or by name, key and label."""
    network = listed_networks.asked(text)
    if network is not None:
        return found.filter(listed_networks.listing(by, network))
    shown = search.credentials_like(by, text)
    if shown is not None:
        ids = list(shown.order_by().values_list("profile_id", flat=True)[: MOST_ALIKE + 1])
        if len(ids) > MOST_ALIKE:
            return found.filter(pk__in=shown.order_by().values("profile_id"))
        if ids:
            return found.filter(pk__in=ids)
    return finding.with_words(found, text, ("name", "key"), labelled=True)


def _beside(by: Actor, found: Sequence[AccessProfile]) -> Beside:
    now = int(time.time())
    seen = collections.seen(by, found)
    return Beside(
        calls=daily_requests(
            by,
            queries.By.PROFILE,
            [each.pk for each in found],
            now,
            clients={each.client_id for each in found},
        ),
        used=limits_used.read_many(found, now),
        seen=frozenset(seen),
        now=timezone.now(),
    )


def _collections(profile: AccessProfile, beside: Beside) -> Cell:
    held = list(profile.collections.all())
    shown = [
        Cell(text=each.name, href=reverse("collection", args=[each.pk]))
        for each in held
        if each.pk in beside.seen
    ]
    rest = []
    if more := len(shown[MOST_COLLECTIONS:]):
        rest.append(Cell(text=f"and {more} more"))
    if unseen := len(held) - len(shown):
        rest.append(Cell(text="one of another project" if unseen == 1 else f"{unseen} of others"))
    return Cell(more=(*shown[:MOST_COLLECTIONS], *rest))


def _limit(profile: AccessProfile, beside: Beside) -> Cell:
    if profile.policy is None:
        return Cell(text="Unlimited")
    used = beside.used.get(profile.pk, ())
    # The quota, or else the longest window.
    chosen = next((each for each in used if each.window == QUOTA), used[-1] if used else None)
    if chosen is None:
        return Cell(text="No limit", title=f"Policy {profile.policy.name}")
    known = "?" if chosen.used is None else f"{chosen.used:,}"
    text = f"{known} of {chosen.limit:,} a {chosen.per}"
    meter = None if chosen.used is None else (chosen.used, chosen.limit)
    return Cell(text=text, title=f"Policy {profile.policy.name}", meter=meter)


#: What the credential of each method is called.
_CREDENTIALS = {AuthMethod.TOKEN: "Auth Token", AuthMethod.OAUTH2: "Client ID"}


def _credential(profile: AccessProfile, _: Beside) -> Cell:
    """The newest one that works, with the button beside it that replaces it."""
    held = profile.credentials.all()
    method = AuthMethod(profile.auth_type)
    issued = method in _CREDENTIALS
    action = ("Refresh", reverse("refresh-profile", args=[profile.pk])) if issued else None
    if not held:
        return Cell(text="None", action=action)
    name = credential_name(held[0])
    more = (Cell(text=f"and {len(held) - 1} more"),) if len(held) > 1 else ()
    title = f"{_CREDENTIALS.get(method, 'Profile key')} {name}"
    return Cell(text=name, title=title, more=more, is_code=True, action=action)


def _switch(profile: AccessProfile, _: Beside) -> Cell:
    """The switch, and beside it what it does not say."""
    state = states.of_profile(profile)
    plain = state.code in {states.StateCode.ACTIVE, states.StateCode.INACTIVE}
    cell = Cell() if plain else state_cell(state)
    address = reverse("switch-profile", args=[profile.pk])
    return dataclasses.replace(cell, switch=RowSwitch(address=address, is_on=profile.active))


COLUMNS = (
    TableColumn(
        name="name", label="Access profile", order=("name", "pk"),
        cell=lambda each, _: Cell(text=each.name, href=reverse("profile", args=[each.pk])),
    ),
    TableColumn(name="state", label="State", cell=lambda each, _: state_cell(states.of_profile(each))),
    TableColumn(
        name="client", label="Client", order=("client__name", "client_id", "name", "pk"),
        cell=lambda each, _: Cell(
            text=each.client.name, href=reverse("client", args=[each.client_id])
        ),
    ),
    TableColumn(
        name="method", label="Method",
        cell=lambda each, _: Cell(text=SHORT_METHODS[AuthMethod(each.auth_type)]),
    ),
    TableColumn(name="collections", label="Collections", cell=_collections),
    TableColumn(name="limit", label="Limit", cell=_limit),
    TableColumn(name="calls", label="7 days", cell=lambda each, beside: requests_cell(beside.calls, each.pk), is_number=True),
    TableColumn(
        name="used", label="Last used", order=("last_used_at", "pk"),
        cell=lambda each, _: moment(each.last_used_at, "Never"),
    ),
    TableColumn(
        name="expires", label="Expires", order=("expires_at", "pk"),
        cell=lambda each, _: moment(each.expires_at, "Never"),
    ),
)  # fmt: skip


def _methods() -> Mapping[str, tuple[str, Q]]:
    return {str(each): (label, Q(auth_type=each.value)) for each, label in METHODS.items()}


def _uses() -> Mapping[str, tuple[str, Q]]:
    return last_used("last_used_at")


def _with_collections(found: Rows, ids: QuerySet[Any] | Sequence[int]) -> Rows:
    through = AccessProfile.collections.through.objects
    having = through.filter(accessprofile_id=OuterRef("pk"), collection_id__in=ids)
    return found.filter(Exists(having))


def _with_lists(found: Rows, ids: QuerySet[Any] | Sequence[int]) -> Rows:
    allowing = AccessProfile.allowed_lists.through.objects.filter(addresslist_id__in=ids)
    denying = AccessProfile.denied_lists.through.objects.filter(addresslist_id__in=ids)
    return found.filter(
        Q(pk__in=allowing.values("accessprofile_id")) | Q(pk__in=denying.values("accessprofile_id"))
    )


def _visible_policies(by: Actor) -> Rows:
    return policies.policies(by)


FILTERS = (
    ChoiceFilter(name="state", label="State", values=lambda: state_choices(states.profile_conditions())),
    NamedFilter(
        name="client", label="Client", objects=clients.clients,
        having=lambda found, ids: found.filter(client__in=ids),
    ),
    ChoiceFilter(name="method", label="Method", values=_methods),
    NamedFilter(
        name="collection", label="API collection", objects=collections.collections,
        having=_with_collections,
    ),
    NamedFilter(
        name="policy", label="Policy", objects=_visible_policies,
        having=lambda found, ids: found.filter(policy__in=ids),
        none=("No policy", Q(policy=None)),
    ),
    NamedFilter(
        name="list", label="Address list", objects=address_lists.address_lists, having=_with_lists
    ),
    ChoiceFilter(name="used", label="Last used", values=_uses),
    ChoiceFilter(name="expires", label="Expires", values=lambda: expiry("expires_at")),
)  # fmt: skip


def _policy_choices(by: Actor) -> list[tuple[str, str]]:
    found = policies.policies(by).order_by("name").values_list("pk", "name")
    return [("none", "No policy (unlimited)"), *((str(pk), name) for pk, name in found)]


def _collection_choices(by: Actor) -> list[tuple[str, str]]:
    found = collections.grantable(by).order_by("name").values_list("pk", "name")
    return [(str(pk), name) for pk, name in found]


class ProfileBulk:
    """What can be done to many access profiles: as the management API does it."""

    most = 10 * profile_bulk.MOST
    actions: Mapping[str, Action] = {
        each.name: each
        for each in (
            Action(name="activate", label="Activate", done="activated"),
            Action(
                name="deactivate", label="Deactivate", done="deactivated", is_dangerous=True,
                meaning="Their requests are refused until they are activated again.",
            ),
            Action(
                name="policy", label="Set policy", done="given another policy", value="Policy",
                choices=_policy_choices,
            ),
            Action(
                name="add", label="Add collection", done="given the API collection",
                value="API collection", choices=_collection_choices,
            ),
            Action(
                name="remove", label="Remove collection", done="changed: the API collection was removed",
                value="API collection", choices=_collection_choices, is_dangerous=True,
            ),
            Action(
                name="expire", label="Set expiry", done="given an expiry", value="Last day (UTC)",
                meaning="After that day their requests are refused. “never” removes the expiry.",
            ),
            Action(
                name="move", label="Move", done="moved", value="Client to move to", is_typed=True,
                meaning="Its name or its id. It must be a client of the same project.",
            ),
            Action(
                name="revoke", label="Revoke credentials", done="left without credentials",
                meaning="All their credentials stop working at once, and can't be brought back.",
                is_dangerous=True,
            ),
        )
    }  # fmt: skip

    def plan(self, by: Actor, action: Action, value: str, ids: Sequence[int]) -> BulkPlan:
        given = profile_bulk.BulkInput.of(**_change(by, action, value), profile_ids=ids[:1])
        given = given.model_copy(update={"profile_ids": list(ids)})
        found, drafts = preview.of_many(by=by, given=given)
        fitting = [each for each in drafts if not each.problems]
        return BulkPlan(
            changed=[(each.profile.pk, each.profile.name) for each in fitting if each.is_changed],
            same=sum(1 for each in fitting if not each.is_changed),
            refused=[
                (each.profile.name, "; ".join(sentence for _, sentence in each.problems))
                for each in drafts
                if each.problems
            ],
            preview=found,
            sentences=() if found.idle else sentences(found),
        )

    def apply(self, by: Actor, action: Action, value: str, ids: Sequence[int]) -> Saved[Any]:
        given = profile_bulk.BulkInput.of(**_change(by, action, value), profile_ids=ids[:1])
        return profile_bulk.change_all(by=by, given=given, ids=ids)


def _change(by: Actor, action: Action, value: str) -> dict[str, object]:
    """What the input of a change has for an action; raises Invalid."""
    match action.name:
        case "activate" | "deactivate":
            return {"active": action.name == "activate"}
        case "policy":
            return {"policy_id": None if value == "none" else _number(value)}
        case "add":
            return {"added": [_number(value)]}
        case "remove":
            return {"removed": [_number(value)]}
        case "expire":
            return {"expires_at": last_day(value)}
        case "move":
            return {"client_id": _client(by, value)}
        case _:
            return {"revoke_credentials": True}


def _number(value: str) -> int:
    number = number_of(value)
    if number is None:
        raise Invalid({"value": ["must be one of the choices"]})
    return number


def _client(by: Actor, said: str) -> int:
    """The client that a name or an id means."""
    seen = clients.clients(by)
    named = list(seen.filter(name=said).values_list("pk", flat=True)[:2])
    if not named:
        named = list(seen.filter(pk=number_of(said) or 0).values_list("pk", flat=True))
    if len(named) == 1:
        return int(named[0])
    which = (
        "several clients have this name; give the id" if named else "no client has this name or id"
    )
    raise Invalid({"value": [which]})


TABLE = Table(
    name="access-profiles",
    title="Access profiles",
    nouns=("access profile", "access profiles"),
    placeholder="Name, key, label:value, token or address",
    rows=rows,
    searched=_searched,
    columns=COLUMNS,
    filters=FILTERS,
    order="name",
    detailed=_detailed,
    beside=_beside,
    label=lambda each: str(each.name),
    project=lambda each: int(each.client.project_id),
    bulk=ProfileBulk(),
    empty="An access profile lets a consumer of a client call API collections. Create one on the client's page.",
    anchor="profile",
)


def _with_credentials(found: Rows) -> Rows:
    working = credentials.working(timezone.now()).order_by("-pk")
    return _detailed(found).prefetch_related(Prefetch("credentials", queryset=working))


def _on_clients_page(column: TableColumn) -> list[TableColumn]:
    if column.name == "client":
        return []
    if column.name == "state":
        return [TableColumn(name="state", label="State", cell=_switch)]
    if column.name == "method":
        return [column, TableColumn(name="credential", label="Auth Token", cell=_credential)]
    return [column]


#: The same rows on the page of their client.
OF_CLIENT = dataclasses.replace(
    TABLE,
    columns=tuple(shown for each in COLUMNS for shown in _on_clients_page(each)),
    detailed=_with_credentials,
)


listing, change = views(TABLE)


@page
@require_safe
def receipt(request: HttpRequest, by: Actor, number: str) -> HttpResponse:
    return table_changes.receipt(request, number)
