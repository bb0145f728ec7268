"""`/api/v2/plans` and `/api/v2/configuration`: configuration that is kept in files."""

from functools import partial
from typing import Annotated, Any, Literal, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Schema
from pydantic import Field, SecretStr

from ostiary.api import lists
from ostiary.api.answers import ERRORS, Id, Revocation, Strict, Time, actor, done
from ostiary.configuration import schema, sets, use_cases
from ostiary.configuration.applying import Issued
from ostiary.configuration.plans import MOST_DELETED, Options
from ostiary.directory.actor import Actor
from ostiary.directory.changes.inputs import Flag
from ostiary.directory.models import ConfigurationPlan, ConfigurationSet
from ostiary.identity.secret import Secret

router = Router(tags=["Configuration as files"])
M = TypeVar("M", bound=Model)

Secrets = Annotated[
    dict[str, SecretStr],
    Field(
        default_factory=dict,
        description="Values of secrets that the configuration refers to, by section, key and field:"
        " `connections.orders.auth_secret`. They are compared or used, and never stored as they are.",
    ),
]


class PlanIn(Strict):
    """A configuration, and what a plan of it may do."""

    configuration: dict[str, Any] = Field(
        description="As `GET /api/v2/configuration/schema` describes it."
    )
    secrets: Secrets
    delete: Flag = Field(False, description="Delete what the set has and its files do not.")
    most_deleted: int = Field(
        MOST_DELETED, ge=0, le=100_000, description="How many objects may be deleted."
    )
    adopt: Flag = Field(False, description="Take over objects that belong to no set.")


class FieldChangeOut(Schema):
    """One field: what it is, and what it will be."""

    name: str = Field(description="The field's name in files.")
    old: Any = Field(description="What it is; a secret is not shown.")
    new: Any = Field(description="What it will be.")
    drifted: bool = Field(description="Whether it was changed since the set was applied.")
    applied: Any = Field(description="If it was: what the files said then.")


class DriftedByOut(Schema):
    """Who changed an object since the set was applied."""

    actor: str = Field(description="Who changed it last, by name.")
    at: Time = Field(description="When that was.")
    action: str = Field(description="What was done, as the audit log names it.")


class ReplayedOut(Schema):
    """What the change would have done to the calls of the last seven days."""

    calls: int = Field(description="Recorded calls that were replayed.")
    newly_refused: int = Field(description="Calls that were admitted and would have been refused.")
    newly_allowed: int = Field(description="Calls that were refused and would have been admitted.")
    endpoints_lost: int = Field(description="Active endpoints that it can no longer call.")
    endpoints_gained: int = Field(description="Active endpoints that it can call from then on.")


class PlannedChangeOut(Schema):
    """One change, in the order in which they are made."""

    action: Literal["create", "update", "adopt", "delete"] = Field(
        description="What is done: `adopt` takes over an object that belongs to no set."
    )
    kind: str = Field(description="The kind of object, such as `client` or `profile`.")
    key: str = Field(description="Its key; of an endpoint, handle, method and path.")
    id: int | None = Field(description="Its id, if it is there already.")
    name: str = Field(description="Its name.")
    parent: str | None = Field(description="The key of what it is a part of.")
    place: str = Field(description="Its place in the configuration that was sent.")
    moved_from: str | None = Field(description="The key that it had before.")
    fields: list[FieldChangeOut] = Field(description="The fields that change.")
    revokes: bool = Field(description="Whether calls that pass now may be refused by it.")
    rotates: bool = Field(description="Whether a new credential is issued.")
    drift: DriftedByOut | None = Field(description="Who changed it beside the files, if anybody.")
    effect: ReplayedOut | None = Field(description="What it would have done to recorded calls.")
    sentence: str = Field(description="The change in words.")


class BlockedOut(Schema):
    """Why the plan can't be applied."""

    place: str = Field(description="The place in the configuration; empty: it has none.")
    kind: str = Field(description="The kind of object.")
    key: str = Field(description="Its key.")
    sentence: str = Field(description="The reason.")


class LeftOverOut(Schema):
    """An object of the set that the files do not name."""

    kind: str = Field(description="The kind of object.")
    key: str = Field(description="Its key.")


class PlanOut(Schema):
    """A plan. It can be applied once, within seven days, as long as nothing that it names moves."""

    id: int = Field(description="The plan's id.")
    digest: str = Field(description="What the plan does, as one value.")
    set: str = Field(description="The set that owns what the files make.")
    project_id: int = Field(description="The id of the project.")
    project: str = Field(description="The project's name.")
    counts: dict[str, int] = Field(description="How many objects, by action.")
    changes: list[PlannedChangeOut] = Field(description="The changes, at most 1,000 of them.")
    more_changes: int = Field(description="Further changes, which are not described.")
    blocked: list[BlockedOut] = Field(description="Why it can't be applied; empty: it can.")
    left_over: list[LeftOverOut] = Field(
        description="Objects of the set that the files do not name, and that stay."
    )
    warnings: list[str] = Field(description="What the plan does not know.")
    newly_refused: int = Field(description="Recorded calls that would have been refused.")
    newly_allowed: int = Field(description="Recorded calls that would have been admitted.")
    made_by: str = Field(description="Who planned it, by name.")
    created_at: Time = Field(description="When it was planned.")
    applied_at: Time | None = Field(description="When it was applied; null: it was not.")


class PlanData(Schema):
    data: PlanOut


class ApplyIn(Strict):
    """`commit` names where the files come from; it stands in the audit log."""

    secrets: Secrets
    commit: str = Field(
        "",
        max_length=100,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="Where the files come from.",
    )


class IssuedCredentialOut(Schema):
    """A credential that was issued; it is shown this once."""

    kind: Literal["profile", "webhook"] = Field(description="The kind of object that it is of.")
    client: str | None = Field(description="The key of the client; of a webhook, null.")
    access_profile: str | None = Field(
        description="The key of the access profile; of a webhook, null."
    )
    access_profile_id: int | None = Field(
        description="The id of the access profile; of a webhook, null."
    )
    webhook: str | None = Field(description="The key of the webhook; of an access profile, null.")
    webhook_id: int | None = Field(description="The id of the webhook; of an access profile, null.")
    secret: str = Field(
        description="The token, the client secret of OAuth 2.0, or the key that a webhook signs with."
    )
    oauth_client_id: str | None = Field(description="The client id of OAuth 2.0.")


class AppliedOut(Schema):
    """What was done."""

    plan_id: int = Field(description="The plan that was applied.")
    counts: dict[str, int] = Field(description="How many objects, by action.")
    issued: list[IssuedCredentialOut] = Field(description="Credentials that were issued.")
    warnings: list[str] = Field(description="What to look at.")
    revocation: Revocation | None = Field(
        description="The receipt of the gateways; null: they have not confirmed yet."
    )


class AppliedData(Schema):
    data: AppliedOut


class ConfigurationData(Schema):
    data: dict[str, Any]


class Exported(Strict):
    project_id: Id | None = Field(None, description="The project; without: Home.")
    set: str = Field(
        "main",
        pattern="^[a-z0-9][a-z0-9-]{0,63}$",
        description="The set whose objects are exported, beside those of no set.",
    )


class DriftedObjectOut(Schema):
    """An object of a set that is not as the files said when they were applied."""

    kind: str = Field(description="The kind of object, such as `client` or `profile`.")
    key: str = Field(description="Its key.")
    fields: list[str] = Field(description="The fields that differ; none: the object is gone.")


class ConfigurationSetOut(Schema):
    """A set of files, and what was changed beside them since it was applied."""

    id: int = Field(description="The id of the set.")
    name: str = Field(description="Its name in its project.")
    project_id: int = Field(description="The project whose objects it holds.")
    objects: int = Field(description="How many objects belong to it.")
    applied_at: Time | None = Field(description="When it was applied last; null: never.")
    applied_by: str = Field(description="Who applied it, by name.")
    commit: str = Field(description="Where the files came from.")
    compared_at: Time | None = Field(
        description="When it was last compared with the directory; null: not yet."
    )
    drifted: int = Field(description="How many objects were changed or deleted beside the files.")
    drift: list[DriftedObjectOut] = Field(description="The first hundred of them.")


class ConfigurationSetPage(lists.CursorPage[ConfigurationSetOut]):
    """One page of configuration sets."""


class ConfigurationSetQuery(lists.ListParameters):
    sort: Annotated[str, lists.sorts("id", "name")] = "id"
    project_id: lists.IdFilter = None
    name: lists.TextFilter = None
    has_drift: lists.FlagFilter = Field(
        None, description="Whether objects of it were changed beside the files."
    )

    def filtered(self, found: QuerySet[M], name: str, value: object) -> QuerySet[M]:
        if name == "has_drift":
            return found.filter(drifted__gt=0) if value else found.filter(drifted=0)
        return super().filtered(found, name, value)


def _set(by: Actor, row: ConfigurationSet) -> dict[str, Any]:
    return {
        "id": row.pk,
        "name": row.name,
        "project_id": row.project_id,
        "objects": row.objects_held,  # type: ignore[attr-defined]  # by `sets.visible`
        "applied_at": row.applied_at,
        "applied_by": row.applied_by,
        "commit": row.commit,
        "compared_at": row.compared_at,
        "drifted": row.drifted,
        "drift": sets.drift(by, row),
    }


def _secrets(given: dict[str, SecretStr]) -> dict[str, Secret]:
    return {name: Secret(value.get_secret_value()) for name, value in given.items()}


def _shown(by: Actor, plan: ConfigurationPlan) -> dict[str, Any]:
    return {
        "id": plan.pk,
        "digest": plan.digest,
        **use_cases.described_for(by, plan),
        "made_by": plan.made_by,
        "created_at": plan.created_at,
        "applied_at": plan.applied_at,
    }


def _issued(issued: Issued) -> dict[str, Any]:
    hook = issued.kind == "webhook"
    return {
        "kind": issued.kind,
        "client": issued.parent,
        "access_profile": None if hook else issued.key,
        "access_profile_id": None if hook else issued.object_id,
        "webhook": issued.key if hook else None,
        "webhook_id": issued.object_id if hook else None,
        "secret": issued.secret.reveal(),
        "oauth_client_id": issued.public_id or None,
    }


@router.post("/v2/plans", response={200: PlanData, **ERRORS})
def create_plan(request: HttpRequest, payload: PlanIn) -> Any:
    """Plan what a configuration changes. Nothing is changed."""
    options = Options(delete=payload.delete, most_deleted=payload.most_deleted, adopt=payload.adopt)
    by = actor(request)
    plan = use_cases.plan(by, payload.configuration, options, _secrets(payload.secrets))
    return {"data": _shown(by, plan)}


@router.get("/v2/plans/{int:plan_id}", response={200: PlanData, **ERRORS})
def show_plan(request: HttpRequest, plan_id: int) -> Any:
    """One plan as it was made."""
    by = actor(request)
    return {"data": _shown(by, use_cases.find(by, plan_id))}


@router.post("/v2/plans/{int:plan_id}/apply", response={200: AppliedData, **ERRORS})
def apply_plan(request: HttpRequest, plan_id: int, payload: ApplyIn) -> Any:
    """Apply a plan in one transaction; 412 if anything that it speaks of has moved."""
    plan, applied = use_cases.apply(
        actor(request), plan_id, _secrets(payload.secrets), commit=payload.commit
    )
    receipt, unconfirmed = done(applied.sequence)
    return {
        "data": {
            "plan_id": plan.pk,
            "counts": plan.described["counts"],
            "issued": [_issued(each) for each in applied.issued],
            "warnings": [*applied.warnings, *unconfirmed],
            "revocation": receipt,
        }
    }


@router.get("/v2/configuration/sets", response={200: ConfigurationSetPage, **ERRORS})
def list_configuration_sets(
    request: HttpRequest, query: Query[ConfigurationSetQuery], response: HttpResponse
) -> Any:
    """List the sets of files that projects are kept in, each with what was changed beside it."""
    by = actor(request)
    return lists.paged(request, response, sets.visible(by), query, partial(_set, by))


@router.get("/v2/configuration", response={200: ConfigurationData, **ERRORS})
def export_configuration(request: HttpRequest, asked: Query[Exported]) -> Any:
    """A project as a configuration: what belongs to the set, and what belongs to none."""
    return {"data": use_cases.export(actor(request), asked.project_id, set_name=asked.set)}


@router.get("/v2/configuration/schema", response={200: ConfigurationData, **ERRORS})
def show_schema(request: HttpRequest) -> Any:
    """The JSON Schema of configuration files."""
    return {"data": schema.json_schema()}
