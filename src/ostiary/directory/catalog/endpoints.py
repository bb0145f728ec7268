"""Endpoints: a method (or any) and a path template in a collection, and where its calls go."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, ClassVar

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone
from pydantic import Field, ValidationInfo, field_validator

from ostiary.access.paths import (
    ENDPOINT_METHODS,
    BadTemplate,
    parse_template,
    stored_template,
)
from ostiary.directory.actor import Actor, Role
from ostiary.directory.catalog import openapi
from ostiary.directory.changes import audit_log, deletions, etags, feed, keys
from ostiary.directory.changes.confirmation import Saved, unchanged
from ostiary.directory.changes.errors import Invalid, NotFound, Problem
from ostiary.directory.changes.inputs import (
    Checked,
    Description,
    Flag,
    IdOrZero,
    Name,
    OneOf,
    OrInherited,
    Problems,
    Whole,
    refusal,
)
from ostiary.directory.changes.permission import require
from ostiary.directory.changes.snapshots import snapshot
from ostiary.directory.clients import policies
from ostiary.directory.models import AccessProfile, Collection, Endpoint, Policy, Recipe
from ostiary.directory.workspace import project_quotas

#: The longest time that answers may be cached, in seconds.
LONGEST_CACHED = 3600


class _Path(Checked):
    """A template of a path, as it is stored."""

    def checked(self, value: object) -> str:
        try:
            return parse_template(value if isinstance(value, str) else "").text
        except BadTemplate as error:
            raise refusal("path", str(error)) from None


class EndpointInput(keys.LabelledInput):
    """Input for an endpoint."""

    required: ClassVar[tuple[str, ...]] = ("name", "method", "path")
    apart: ClassVar[tuple[str, ...]] = (
        "path", "target_path", "recipe_id", "active", "validate_request",
    )  # fmt: skip

    name: Name = ""
    method: Annotated[str, OneOf(ENDPOINT_METHODS)] = ""
    path: Annotated[str, _Path()] = ""
    description: Description = ""
    active: Flag = False
    recipe_id: IdOrZero = Field(None, alias="flow_id")
    #: Null: the path itself.
    target_path: Annotated[str | None, _Path()] = None
    #: Null: the connection's.
    timeout_seconds: Annotated[int | None, OrInherited(Whole(least=1, most=240))] = None
    #: What a call counts in limits; 0: nothing.
    weight: Annotated[int, Whole(least=0, most=10_000)] = 1
    #: Seconds that answers are cached; 0: never; null or `inherited`: as the collection says.
    cache_seconds: Annotated[int | None, OrInherited(Whole(least=0, most=LONGEST_CACHED))] = None
    validate_request: Flag = True

    @field_validator("target_path")
    @classmethod
    def _fits_path(cls, target: str | None, info: ValidationInfo) -> str | None:
        if target and info.data.get("path"):
            _check_target(target, info.data["path"])
        return target


def _check_target(target: str, path: str) -> None:
    """Raise if a target has parameters that its path does not have."""
    unknown = set(stored_template(target).tokens) - set(stored_template(path).tokens)
    if unknown:
        raise refusal("path", f"{', '.join(sorted(unknown))} is not in the path")


def endpoints(by: Actor, collection_id: int | None = None) -> QuerySet[Endpoint]:
    found = Endpoint.objects.visible_to(by).order_by("pk")
    if collection_id is not None:
        found = found.filter(collection_id=collection_id)
    return found.select_related("collection", "recipe")


def find(by: Actor, endpoint_id: int) -> Endpoint:
    endpoint = endpoints(by).filter(pk=endpoint_id).first()
    if endpoint is None:
        raise NotFound("API endpoint")
    return endpoint


def create(*, by: Actor, collection_id: int, given: EndpointInput) -> Saved[Endpoint]:
    """Add an endpoint; inactive unless said otherwise. Raises Invalid, NotFound, Forbidden."""
    with transaction.atomic():
        visible = Collection.objects.visible_to(by)
        collection = visible.select_for_update().filter(pk=collection_id).first()
        if collection is None:
            raise NotFound("API collection")
        require(by, Role.EDITOR, collection.project_id)
        project_quotas.check(collection.project_id, api_endpoints=1)
        endpoint = Endpoint(collection=collection)
        _fill(endpoint, given)
        _save(endpoint)
        _record(by, "create", endpoint)
        sequence = _announce(endpoint)
    return Saved(value=endpoint, sequence=sequence, warnings=_warnings(endpoint), adds=True)


def change(
    *, by: Actor, endpoint_id: int, given: EndpointInput, if_match: str | None = None
) -> Saved[Endpoint]:
    """Change the fields of an endpoint that were sent."""
    with transaction.atomic():
        endpoint = _locked(by, endpoint_id)
        etags.check(endpoint, if_match)
        given.check_fixed(endpoint)
        before, stored = _shown(endpoint), snapshot(endpoint)
        _fill(endpoint, given)
        if snapshot(endpoint) == stored:
            return unchanged(endpoint, endpoint.collection.epoch, _warnings(endpoint))
        _save(endpoint)
        _record(by, "change", endpoint, before=before)
        sequence = _announce(endpoint)
    return Saved(value=endpoint, sequence=sequence, warnings=_warnings(endpoint))


def switch(
    *, by: Actor, endpoint_id: int, active: bool, if_match: str | None = None
) -> Saved[Endpoint]:
    """Enable or disable an endpoint; enabling needs a recipe that runs."""
    with transaction.atomic():
        endpoint = _locked(by, endpoint_id)
        etags.check(endpoint, if_match)
        if endpoint.active == active:
            return unchanged(endpoint, endpoint.collection.epoch)
        before = _shown(endpoint)
        endpoint.active = active
        if active:
            _require_running(endpoint)
        endpoint.save(update_fields=["active", "updated_at"])
        _record(by, "enable" if active else "disable", endpoint, before=before)
        sequence = _announce(endpoint)
    return Saved(value=endpoint, sequence=sequence)


def delete(*, by: Actor, endpoint_id: int, if_match: str | None = None) -> Saved[None]:
    """Delete an endpoint; its path is unknown from then on."""
    with transaction.atomic():
        endpoint = _locked(by, endpoint_id)
        etags.check(endpoint, if_match)
        deletions.keep(by, "endpoint", endpoint, project_id=endpoint.collection.project_id)
        _record(by, "delete", endpoint)
        sequence = _announce(endpoint)
        endpoint.delete()
    return Saved(value=None, sequence=sequence)


def switch_all(
    *,
    by: Actor,
    collection_id: int,
    active: bool,
    endpoint_ids: Sequence[int] | None = None,
    if_match: str | None = None,
) -> Saved[int]:
    """Enable or disable all endpoints of a collection, or these; returns how many changed.

    Raises Invalid for one that is not in it, and switches none then.
    """
    with transaction.atomic():
        visible = Collection.objects.visible_to(by)
        collection = visible.select_for_update().filter(pk=collection_id).first()
        if collection is None:
            raise NotFound("API collection")
        require(by, Role.EDITOR, collection.project_id)
        etags.check(collection, if_match)
        found = collection.endpoints.select_related("collection", "recipe").order_by("pk")
        if endpoint_ids is not None:
            found = found.filter(pk__in=endpoint_ids)
            missing = set(endpoint_ids) - set(found.values_list("pk", flat=True))
            if missing:
                sentence = f"there is no API endpoint {min(missing)} in the collection"
                problem = Problem(field="endpoint_ids", code="unknown", sentence=sentence)
                raise Invalid([problem])
        switched = list(found.exclude(active=active))
        for endpoint in switched:
            before = _shown(endpoint)
            endpoint.active = active
            if active:
                _require_running(endpoint)
            _record(by, "enable" if active else "disable", endpoint, before=before)
        ids = [endpoint.pk for endpoint in switched]
        Endpoint.objects.filter(pk__in=ids).update(active=active, updated_at=timezone.now())
        if not ids:
            return unchanged(0, collection.epoch)
        sequence = feed.announce(feed.Kind.COLLECTION, collection.pk)
        Collection.objects.filter(pk=collection.pk).update(epoch=sequence)
    return Saved(value=len(ids), sequence=sequence)


def switch_many(*, by: Actor, endpoint_ids: Sequence[int], active: bool) -> Saved[int]:
    """Enable or disable endpoints of however many collections, all or none; returns how many changed."""
    changed = sequence = 0
    with transaction.atomic():
        found = Endpoint.objects.visible_to(by).filter(pk__in=endpoint_ids)
        of: dict[int, list[int]] = {}
        for pk, collection in found.order_by("collection", "pk").values_list("pk", "collection"):
            of.setdefault(collection, []).append(pk)
        if len(endpoint_ids) > sum(map(len, of.values())):
            raise Invalid({"endpoint_ids": ["has an endpoint that isn't there any more"]})
        for collection, ids in of.items():
            saved = switch_all(by=by, collection_id=collection, active=active, endpoint_ids=ids)
            changed += saved.value
            sequence = max(sequence, saved.sequence)
    return Saved(value=changed, sequence=sequence)


def add_imported(
    collection: Collection,
    operations: Iterable[openapi.Operation],
    *,
    active: Callable[[openapi.Operation], bool],
) -> list[Endpoint]:
    """Add the operations of a document, in the caller's transaction."""
    return Endpoint.objects.bulk_create(
        [_imported(collection, each, active=active(each)) for each in operations],
        batch_size=500,
    )


def _imported(collection: Collection, operation: openapi.Operation, *, active: bool) -> Endpoint:
    template = parse_template(operation.path)
    return Endpoint(
        collection=collection,
        name=operation.name,
        method=operation.method,
        path=template.text,
        shape=template.shape,
        target_path=template.text,
        description=operation.description,
        active=active,
    )


def _warnings(endpoint: Endpoint) -> tuple[str, ...]:
    """Limits below what one call counts, of policies that the collection's profiles have."""
    if endpoint.weight <= 1:
        return ()
    profiles = AccessProfile.objects.filter(collections=endpoint.collection_id).order_by()
    used = Policy.objects.filter(pk__in=profiles.values("policy_id"), watched=False)
    return tuple(
        f"A call counts {endpoint.weight:,}, which is above the policy {policy.name}'s limit of"
        f" {least:,}: its profiles can never make one"
        for policy in used.order_by("name")[:20]
        if (least := policies.least(policy)) is not None and least < endpoint.weight
    )


def _locked(by: Actor, endpoint_id: int) -> Endpoint:
    found = find(by, endpoint_id)
    require(by, Role.EDITOR, found.collection.project_id)
    endpoint = Endpoint.objects.select_for_update().filter(pk=found.pk).first()
    if endpoint is None:
        raise NotFound("API endpoint")
    return endpoint


def _announce(endpoint: Endpoint) -> int:
    sequence = feed.announce(feed.Kind.ENDPOINT, endpoint.pk)
    Collection.objects.filter(pk=endpoint.collection_id).update(epoch=sequence)
    return sequence


def _save(endpoint: Endpoint) -> None:
    try:
        with transaction.atomic():
            endpoint.save()
    except IntegrityError:
        message = "is the path of another endpoint with this method"
        raise Invalid({"path": [message]}) from None


def check(endpoint: Endpoint, given: EndpointInput) -> None:
    """Whether input fits an endpoint that nobody saves; raises Invalid."""
    _fill(endpoint, given)


def _fill(endpoint: Endpoint, given: EndpointInput) -> None:
    problems = Problems(EndpointInput)
    given.assign(endpoint)
    if given.has("path"):
        follows = endpoint.target_path in {"", endpoint.path}
        template = parse_template(given.path)
        endpoint.path, endpoint.shape = template.text, template.shape
        if follows:
            endpoint.target_path = template.text
    if endpoint.cache_seconds and endpoint.collection.kind == Collection.Kind.RECIPE:
        problems.add("cache_seconds", "answers of recipes can't be kept")
    if endpoint.collection.kind == Collection.Kind.RECIPE:
        _fill_recipe(problems, endpoint, given)
    else:
        _fill_target(problems, endpoint, given)
    problems.raise_if_any()
    if given.has("active") and given.active != endpoint.active:
        endpoint.active = given.active
        if given.active:
            _require_running(endpoint)


def _fill_recipe(problems: Problems, endpoint: Endpoint, given: EndpointInput) -> None:
    if given.target_path is not None:
        problems.add("target_path", "an endpoint of a recipe collection has no target path")
    endpoint.target_path = ""
    if given.has("recipe_id") and given.recipe_id != endpoint.recipe_id:
        usable = Recipe.objects.usable_in(endpoint.collection.project_id)
        endpoint.recipe = usable.filter(pk=given.recipe_id or 0).first()
    if endpoint.recipe is None:
        problems.add("recipe_id", "must be the id of a recipe")
    if given.has("validate_request"):
        endpoint.validate_request = given.validate_request


def _fill_target(problems: Problems, endpoint: Endpoint, given: EndpointInput) -> None:
    if given.recipe_id is not None:
        problems.add("recipe_id", "an endpoint of a proxy collection has no recipe")
    if given.has("validate_request") and given.validate_request:
        problems.add("validate_request", "only recipes have a schema to check requests against")
    if given.has("target_path"):
        endpoint.target_path = given.target_path or endpoint.path
        problems.check("target_path", lambda: _check_target(endpoint.target_path, endpoint.path))


def _require_running(endpoint: Endpoint) -> None:
    recipe = endpoint.recipe
    if recipe is not None and not (recipe.started and recipe.present):
        raise Invalid({"active": [f"the recipe {recipe.name} does not run; start it first"]})


def _shown(endpoint: Endpoint) -> Mapping[str, object]:
    return {
        **EndpointInput.stored(endpoint),
        "path": endpoint.path,
        "active": endpoint.active,
        "target_path": endpoint.target_path,
        "recipe_id": endpoint.recipe_id,
        "validate_request": endpoint.validate_request,
    }


def _record(
    by: Actor, verb: str, endpoint: Endpoint, before: Mapping[str, object] | None = None
) -> None:
    audit_log.record(
        by,
        f"endpoint.{verb}",
        target_kind="endpoint",
        target_id=endpoint.pk,
        target_name=endpoint.name,
        project_id=endpoint.collection.project_id,
        before=before,
        after=_shown(endpoint),
    )
