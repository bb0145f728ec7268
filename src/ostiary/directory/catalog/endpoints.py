"""Endpoints: one method, or any, and path template in a collection, and where its calls go."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from ostiary.access.paths import (
    ENDPOINT_METHODS,
    BadTemplate,
    Template,
    parse_template,
    stored_template,
)
from ostiary.directory.actor import Actor, Role
from ostiary.directory.catalog import openapi
from ostiary.directory.changes import audit_log, etags, feed, fields
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.changes.errors import Invalid, NotFound
from ostiary.directory.changes.permission import require
from ostiary.directory.clients import policies
from ostiary.directory.models import AccessProfile, Collection, Endpoint, Policy, Recipe
from ostiary.directory.workspace import project_quotas

TIMEOUTS = (1, 240)
#: What a call may count in limits; 0: nothing.
WEIGHTS = (0, 10_000)
#: Seconds that answers may be kept.
LONGEST_CACHED = 3600
#: What to give for a timeout to have none of its own any more.
INHERITED = "inherited"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What an owner may say of an endpoint; empty where it does not."""

    name: object = None
    method: object = None
    path: object = None
    description: object = None
    active: bool | None = None
    recipe_id: int | None = None
    target_path: object = None
    timeout_seconds: object = None
    weight: object = None
    #: A number, or INHERITED: as the collection says.
    cache_seconds: object = None
    validate_request: bool | None = None


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


def create(*, by: Actor, collection_id: int, given: Given) -> Saved[Endpoint]:
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
    *, by: Actor, endpoint_id: int, given: Given, if_match: str | None = None
) -> Saved[Endpoint]:
    """Change what is given of an endpoint."""
    with transaction.atomic():
        endpoint = _locked(by, endpoint_id)
        etags.check(endpoint, if_match)
        before = _shown(endpoint)
        _fill(endpoint, given)
        _save(endpoint)
        _record(by, "change", endpoint, before=before)
        sequence = _announce(endpoint)
    return Saved(value=endpoint, sequence=sequence, warnings=_warnings(endpoint))


def switch(*, by: Actor, endpoint_id: int, active: bool) -> Saved[Endpoint]:
    """Enable or disable an endpoint; enabling needs a recipe that runs."""
    with transaction.atomic():
        endpoint = _locked(by, endpoint_id)
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
        _record(by, "delete", endpoint)
        sequence = _announce(endpoint)
        endpoint.delete()
    return Saved(value=None, sequence=sequence)


def switch_all(
    *, by: Actor, collection_id: int, active: bool, endpoint_ids: Sequence[int] | None = None
) -> Saved[int]:
    """Enable or disable all endpoints of a collection, or these; how many were switched.

    Raises NotFound for one that is not in it, and switches none then.
    """
    with transaction.atomic():
        visible = Collection.objects.visible_to(by)
        collection = visible.select_for_update().filter(pk=collection_id).first()
        if collection is None:
            raise NotFound("API collection")
        require(by, Role.EDITOR, collection.project_id)
        found = collection.endpoints.select_related("collection", "recipe").order_by("pk")
        if endpoint_ids is not None:
            found = found.filter(pk__in=endpoint_ids)
            if found.count() != len(set(endpoint_ids)):
                raise NotFound("API endpoint")
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
            return Saved(value=0, sequence=0)
        sequence = feed.announce(feed.Kind.COLLECTION, collection.pk)
        Collection.objects.filter(pk=collection.pk).update(epoch=sequence)
    return Saved(value=len(ids), sequence=sequence)


def add_imported(
    collection: Collection, operations: Iterable[openapi.Operation], *, active: bool
) -> None:
    """Add the operations of a document, in the caller's transaction."""
    Endpoint.objects.bulk_create(
        [_imported(collection, operation, active=active) for operation in operations],
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


def _fill(endpoint: Endpoint, given: Given) -> None:
    problems = fields.Problems()
    new = endpoint.pk is None
    if given.name is not None or new:
        endpoint.name = fields.text(problems, "name", given.name)
    if given.method is not None or new:
        endpoint.method = fields.choice(problems, "method", given.method, ENDPOINT_METHODS)
    if given.path is not None or new:
        follows = endpoint.target_path in {"", endpoint.path}
        template = _template(problems, "path", given.path)
        endpoint.path, endpoint.shape = template.text, template.shape
        if follows:
            endpoint.target_path = template.text
    if given.description is not None:
        endpoint.description = fields.text(
            problems, "description", given.description, maximum=4000, required=False, lines=True
        )
    if given.timeout_seconds == INHERITED:
        endpoint.timeout_seconds = None
    elif given.timeout_seconds is not None:
        least, most = TIMEOUTS
        endpoint.timeout_seconds = fields.number(
            problems, "timeout_seconds", given.timeout_seconds, least=least, most=most, default=None
        )
    if given.cache_seconds == INHERITED:
        endpoint.cache_seconds = None
    elif given.cache_seconds is not None:
        endpoint.cache_seconds = fields.number(
            problems, "cache_seconds", given.cache_seconds,
            least=0, most=LONGEST_CACHED, default=None,
        )  # fmt: skip
        if endpoint.cache_seconds and endpoint.collection.kind == Collection.Kind.RECIPE:
            problems.add("cache_seconds", "answers of recipes can't be kept")
    if given.weight is not None:
        least, most = WEIGHTS
        endpoint.weight = (
            fields.number(problems, "weight", given.weight, least=least, most=most, default=1) or 0
        )
    _fill_target(problems, endpoint, given)
    problems.raise_if_any()
    if given.active is not None:
        endpoint.active = given.active
        if given.active:
            _require_running(endpoint)


def _fill_target(problems: fields.Problems, endpoint: Endpoint, given: Given) -> None:
    if endpoint.collection.kind == Collection.Kind.RECIPE:
        if given.target_path is not None:
            problems.add("target_path", "an endpoint of a recipe collection has no target path")
        endpoint.target_path = ""
        if given.recipe_id is not None:
            usable = Recipe.objects.usable_in(endpoint.collection.project_id)
            endpoint.recipe = usable.filter(pk=given.recipe_id).first()
        if endpoint.recipe is None:
            problems.add("flow_id", "must be the id of a recipe")
        if given.validate_request is not None:
            endpoint.validate_request = given.validate_request
        return
    if given.recipe_id:
        problems.add("flow_id", "an endpoint of a proxy collection has no recipe")
    if given.validate_request:
        problems.add("validate_request", "only recipes have a schema to check requests against")
    if given.target_path is not None:
        target = _template(problems, "target_path", given.target_path)
        endpoint.target_path = target.text
        unknown = set(target.tokens) - set(stored_template(endpoint.path or "/x").tokens)
        if unknown:
            problems.add("target_path", f"{', '.join(sorted(unknown))} is not in the path")


def _template(problems: fields.Problems, field: str, value: object) -> Template:
    try:
        return parse_template(value if isinstance(value, str) else "")
    except BadTemplate as error:
        problems.add(field, str(error))
        return parse_template("/x")


def _require_running(endpoint: Endpoint) -> None:
    recipe = endpoint.recipe
    if recipe is not None and not (recipe.started and recipe.present):
        raise Invalid({"active": [f"the recipe {recipe.name} does not run; start it first"]})


def _shown(endpoint: Endpoint) -> Mapping[str, object]:
    return {
        "name": endpoint.name,
        "method": endpoint.method,
        "path": endpoint.path,
        "active": endpoint.active,
        "target_path": endpoint.target_path,
        "recipe_id": endpoint.recipe_id,
        "timeout_seconds": endpoint.timeout_seconds,
        "weight": endpoint.weight,
        "cache_seconds": endpoint.cache_seconds,
        "description": endpoint.description,
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
