"""**API platform > Credentials**: every credential of the profiles that its reader may see, with age and use."""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from ostiary.console.clients.previews import sentences
from ostiary.console.clients.profile_table import SHORT_METHODS
from ostiary.console.frame import table_changes
from ostiary.console.frame.bulk import Action, BulkPlan, last_day
from ostiary.console.frame.table_values import (
    credential_name,
    expiry,
    last_used,
    moment,
    state_cell,
    state_choices,
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
from ostiary.directory import search, states
from ostiary.directory.actor import Actor
from ostiary.directory.catalog import collections
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.clients import clients, credential_bulk, credentials, profile_bulk
from ostiary.directory.models import AccessProfile, Credential
from ostiary.review import preview

#: Ages of a filter, in days.
AGES = {30: "Over 30 days", 90: "Over 90 days", 365: "Over a year"}


def _detailed(found: Rows) -> Rows:
    return found.select_related("profile__client").defer(
        "profile__client__logo_small", "profile__client__logo_medium"
    )


def _ages() -> Mapping[str, tuple[str, Q]]:
    now = timezone.now()
    return {
        str(days): (label, Q(created_at__lt=now - timedelta(days=days)))
        for days, label in AGES.items()
    }


def _with_collections(found: Rows, ids: QuerySet[Any] | Sequence[int]) -> Rows:
    through = AccessProfile.collections.through.objects
    having = through.filter(accessprofile_id=OuterRef("profile_id"), collection_id__in=ids)
    return found.filter(Exists(having))


class CredentialBulk:
    """Many credentials can be revoked, as the management API does it, or given an end."""

    most = credential_bulk.MOST
    actions: Mapping[str, Action] = {
        "expire": Action(
            name="expire", label="Set expiry", done="given an expiry", value="Last day (UTC)",
            meaning="After that day they stop working. “never” removes the expiry.",
        ),
        "revoke": Action(
            name="revoke", label="Revoke", done="revoked", is_dangerous=True,
            meaning="They stop working at once, and can't be brought back.",
        )
    }  # fmt: skip

    def plan(self, by: Actor, action: Action, value: str, ids: Sequence[int]) -> BulkPlan:
        chosen = list(_detailed(credentials.credentials(by).filter(pk__in=ids)).order_by("pk"))
        if action.name == "expire":
            return _expiry_plan(chosen, last_day(value))
        changed = [each for each in chosen if each.revoked_at is None]
        left = credentials.working(timezone.now()).exclude(pk__in=ids)
        owners = {each.profile_id for each in changed}
        emptied = sorted(
            owners - set(left.filter(profile__in=owners).values_list("profile_id", flat=True))
        )
        said, found = [], None
        if emptied:
            given = profile_bulk.BulkInput(profile_ids=emptied, revoke_credentials=True)
            found, _ = preview.of_many(by=by, given=given)
            said = [
                f"Access profiles left without a working credential: {len(emptied):,}.",
                *sentences(found),
            ]
            if found.idle:
                said, found = [], None
        if used := sum(1 for each in changed if each.last_used_at is not None):
            said.append(f"Used before: {used:,} of {len(changed):,}.")
        return BulkPlan(
            changed=[
                (each.pk, f"{credential_name(each)} of {each.profile.name}") for each in changed
            ],
            same=len(chosen) - len(changed),
            preview=found,
            sentences=said,
        )

    def apply(self, by: Actor, action: Action, value: str, ids: Sequence[int]) -> Saved[Any]:
        if action.name == "expire":
            end = credential_bulk.ExpiryInput.of(
                credential_ids=list(ids), expires_at=last_day(value)
            )
            return credential_bulk.set_expiry(by=by, given=end)
        given = credential_bulk.RevokeInput.of(credential_ids=list(ids))
        return credential_bulk.revoke(by=by, given=given)


def _expiry_plan(chosen: Sequence[Credential], end: datetime | None) -> BulkPlan:
    alive = [each for each in chosen if each.revoked_at is None]
    changed = [each for each in alive if each.expires_at != end]
    now = timezone.now()
    said = []
    if end is not None and end <= now and changed:
        said.append("That day is over: they stop working at once.")
    if back := sum(1 for each in changed if _is_over(each, now) and (end is None or end > now)):
        said.append(f"Expired ones that work again: {back:,}.")
    return BulkPlan(
        changed=[(each.pk, f"{credential_name(each)} of {each.profile.name}") for each in changed],
        same=len(alive) - len(changed),
        refused=[
            (f"{credential_name(each)} of {each.profile.name}", "it is revoked")
            for each in chosen
            if each.revoked_at is not None
        ],
        sentences=said,
    )


def _is_over(each: Credential, now: datetime) -> bool:
    return each.expires_at is not None and each.expires_at <= now


TABLE = Table(
    name="credentials",
    title="Credentials",
    nouns=("credential", "credentials"),
    placeholder="Masked token, client ID, profile or client",
    rows=credentials.credentials,
    searched=search.credentials_with,
    columns=(
        TableColumn(
            name="credential", label="Credential",
            cell=lambda each, _: Cell(
                text=credential_name(each), href=reverse("profile", args=[each.profile_id]), is_code=True
            ),
        ),
        TableColumn(
            name="state", label="State", cell=lambda each, _: state_cell(states.of_credential(each))
        ),
        TableColumn(
            name="profile", label="Access profile", order=("profile__name", "profile_id", "pk"),
            cell=lambda each, _: Cell(
                text=each.profile.name, href=reverse("profile", args=[each.profile_id])
            ),
        ),
        TableColumn(
            name="client", label="Client",
            cell=lambda each, _: Cell(
                text=each.profile.client.name, href=reverse("client", args=[each.profile.client_id])
            ),
        ),
        TableColumn(
            name="method", label="Method",
            cell=lambda each, _: Cell(text=SHORT_METHODS[each.profile.auth_type]),
        ),
        TableColumn(
            name="created", label="Created", order=("pk",),
            cell=lambda each, _: moment(each.created_at, ""),
        ),
        TableColumn(
            name="used", label="Last used", order=("last_used_at", "pk"),
            cell=lambda each, _: moment(each.last_used_at, "Never"),
        ),
        TableColumn(
            name="expires", label="Expires", order=("expires_at", "pk"),
            cell=lambda each, _: _end(each),
        ),
    ),
    filters=(
        ChoiceFilter(name="state", label="State", values=lambda: state_choices(states.credential_conditions())),
        ChoiceFilter(name="age", label="Age", values=_ages),
        ChoiceFilter(name="used", label="Last used", values=lambda: last_used("last_used_at")),
        ChoiceFilter(name="expires", label="Expires", values=lambda: expiry("expires_at")),
        NamedFilter(
            name="profile", label="Access profile", objects=AccessProfile.objects.visible_to,
            having=lambda found, ids: found.filter(profile__in=ids),
        ),
        NamedFilter(
            name="client", label="Client", objects=clients.clients,
            having=lambda found, ids: found.filter(profile__client__in=ids),
        ),
        NamedFilter(
            name="collection", label="API collection", objects=collections.collections,
            having=_with_collections,
        ),
    ),
    order="-created",
    detailed=_detailed,
    label=credential_name,
    project=lambda each: int(each.profile.client.project_id),
    bulk=CredentialBulk(),
    empty="A credential is made with its access profile, and when it is refreshed.",
)  # fmt: skip


def _end(each: Credential) -> Cell:
    """When it ends: with its overlap or its expiry, whichever comes first."""
    ends = [end for end in (each.overlap_until, each.expires_at) if end is not None]
    return moment(min(ends, default=None), "Never")


def _on_profiles_page(column: TableColumn) -> list[TableColumn]:
    if column.name == "credential":
        return [dataclasses.replace(column, cell=_to_revoke)]
    if column.name == "expires":
        return [dataclasses.replace(column, cell=_to_expire)]
    return [] if column.name in {"profile", "client", "method"} else [column]


def _to_expire(each: Credential, _: object) -> Cell:
    """When it ends, and for one that is not revoked the page that changes it."""
    cell = _end(each)
    back = reverse("profile-credentials", args=[each.profile_id])
    change = table_changes.address("change-credentials", what="expire", id=str(each.pk), back=back)
    action = ("Set expiry", change) if each.revoked_at is None else None
    return dataclasses.replace(cell, action=action)


def _to_revoke(each: Credential, _: object) -> Cell:
    """Its name, and for one that works the page that revokes it."""
    ended = {states.StateCode.REVOKED, states.StateCode.REPLACED, states.StateCode.EXPIRED}
    works = states.of_credential(each).code not in ended
    revoke = ("Revoke…", reverse("cut-off", args=[each.profile_id, each.pk]))
    log = f"{reverse('profile-requests', args=[each.profile_id])}?credential={each.pk}"
    return Cell(
        text=credential_name(each), href=log, is_code=True, action=revoke if works else None
    )


#: The same rows on the page of their access profile.
OF_PROFILE = dataclasses.replace(
    TABLE, columns=tuple(shown for each in TABLE.columns for shown in _on_profiles_page(each))
)


listing, change = views(TABLE)
