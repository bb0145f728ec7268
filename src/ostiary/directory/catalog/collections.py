"""Collections: versioned groups of endpoints under one path."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from anyascii import anyascii
from django.db import IntegrityError, transaction
from django.db.models import Count, Q, QuerySet

from ostiary.access.methods import AuthMethod
from ostiary.directory.actor import Actor, Role
from ostiary.directory.catalog import connections, documents, endpoints, import_reports, openapi
from ostiary.directory.catalog.import_reports import Imported
from ostiary.directory.changes import audit_log, etags, feed, fields
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.changes.errors import InUse, Invalid, NotFound
from ostiary.directory.changes.permission import project_of, require
from ostiary.directory.models import AccessProfile, Collection, Connection, ImportReport, Project
from ostiary.directory.workspace import origins, project_quotas, public_urls
from ostiary.identity import places

_HANDLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
#: First segments of paths that the gateway answers itself.
RESERVED = frozenset({"oauth2", "healthz", "metrics", "usage"})
MOST_ORIGINS = 50
#: Beside a save that lets encoded slashes into paths.
ENCODED_SLASHES = (
    "Paths of this collection may hold %2F, %5C and ; within a segment, and the API behind it gets them"
    " as they came. It must not take them for separators of its own."
)
MOST_EXPOSED = 50
#: Seconds; browsers remember for two hours or a day at most.
LONGEST_MAX_AGE = 86_400
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")


#: The collection has no places of its own.
INHERITED: Final = "inherited"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What an owner may say of a collection; empty where it does not."""

    name: object = None
    version: object = None
    handle: object = None
    description: object = None
    kind: object = None
    connection_id: int | None = None
    cors_origins: object = None
    forward_credential: bool | None = None
    forward_claims: bool | None = None
    encoded_slashes: bool | None = None
    cors_credentials: bool | None = None
    cors_exposed_headers: object = None
    cors_max_age: object = None
    leave_authorization: bool | None = None
    #: A list, or INHERITED: as the workspace says.
    credential_places: object = None
    cache_seconds: object = None
    cache_shared: bool | None = None


def seen(by: Actor, profiles: Iterable[AccessProfile]) -> frozenset[int]:
    """Which collections of these profiles `by` may see: a profile may span projects."""
    ids = {collection.pk for profile in profiles for collection in profile.collections.all()}
    found = Collection.objects.visible_to(by).filter(pk__in=ids)
    return frozenset(found.values_list("pk", flat=True))


def known(by: Actor) -> QuerySet[Collection]:
    """The collections that `by` may know to exist: those it sees, and those of profiles it sees."""
    if by.sees_all:
        return Collection.objects.all()
    granted = AccessProfile.collections.through.objects.filter(
        accessprofile__in=AccessProfile.objects.visible_to(by)
    )
    return Collection.objects.filter(
        Q(project_id__in=by.project_ids) | Q(pk__in=granted.values("collection_id"))
    )


def collections(by: Actor) -> QuerySet[Collection]:
    return Collection.objects.visible_to(by).order_by("pk")


def grantable(by: Actor) -> QuerySet[Collection]:
    """The collections that `by` may let consumers into."""
    found = collections(by)
    if by.admin or (by.everywhere is not None and by.everywhere.rank >= Role.EDITOR.rank):
        return found
    return found.filter(project_id__in=[pk for pk in by.project_ids if by.may(Role.EDITOR, pk)])


def matching(by: Actor, *, project_id: int | None = None, search: str = "") -> QuerySet[Collection]:
    """Collections of a project, if one is given, whose name or handle holds the text."""
    found = collections(by).select_related("project")
    if project_id is not None:
        found = found.filter(project_id=project_id)
    if search:
        found = found.filter(Q(name__icontains=search) | Q(handle__icontains=search))
    return found


def with_counts(found: QuerySet[Collection]) -> QuerySet[Collection]:
    """The same collections, each with `endpoint_count` and `active_count`."""
    return found.annotate(
        endpoint_count=Count("endpoints"),
        active_count=Count("endpoints", filter=Q(endpoints__active=True)),
    )


def find(by: Actor, collection_id: int) -> Collection:
    collection = collections(by).filter(pk=collection_id).first()
    if collection is None:
        raise NotFound("API collection")
    return collection


def create(
    *,
    by: Actor,
    given: Given,
    project_id: int | None,
    document: tuple[str, str] | None = None,
    active: bool = False,
) -> Saved[Imported]:
    """Make a collection, from an OpenAPI document (content, form) if one is given.

    `active`: whether the document's endpoints may be called at once.
    """
    project = project_of(by, project_id)
    require(by, Role.EDITOR, project.pk)
    read = _document(document)
    collection = Collection(project=project)
    problems = fields.Problems()
    collection.kind = _kind(problems, given, read)
    _fill(by, collection, given, problems)
    if not collection.handle:
        collection.handle = _free_handle(collection.name, collection.version)
    problems.raise_if_any()
    with transaction.atomic():
        added = len(read.operations) if read is not None else 0
        project_quotas.check(project.pk, api_collections=1, api_endpoints=added)
        problem = ""
        if read is not None and collection.connection is None:
            collection.connection, problem = _connection_for(by, project, collection.name, read)
        _save(collection)
        _record(by, "create", collection)
        imported = Imported(collection=collection)
        if read is not None:
            imported = _take(collection, read, problem, active=active)
        sequence = announce(collection)
    said = (*imported.warnings, *_warnings(given, collection))
    return Saved(value=imported, sequence=sequence, adds=True, warnings=said)


def _take(
    collection: Collection, read: openapi.Document, problem: str, *, active: bool
) -> Imported:
    """Make a document's endpoints, and keep the report of it."""
    endpoints.add_imported(collection, read.operations, active=active)
    imported = Imported(
        collection=collection,
        taken=len(read.operations),
        skipped=read.skipped,
        notes=read.notes,
        warnings=import_reports.warnings(read, no_connection=problem),
    )
    import_reports.keep(imported)
    return imported


def import_report(by: Actor, collection_id: int) -> ImportReport:
    """What became of the import that made a collection; raises NotFound."""
    return import_reports.report(find(by, collection_id))


def dismiss_import_report(*, by: Actor, collection_id: int) -> None:
    """Delete the report of a collection's import; raises NotFound, Forbidden."""
    with transaction.atomic():
        import_reports.dismiss(by=by, collection=locked(by, collection_id))


def change(
    *, by: Actor, collection_id: int, given: Given, if_match: str | None = None
) -> Saved[Collection]:
    """Change what is given of a collection; its kind stays."""
    with transaction.atomic():
        collection = locked(by, collection_id)
        etags.check(collection, if_match)
        before = _shown(collection)
        problems = fields.Problems()
        if given.kind is not None and given.kind != collection.kind:
            problems.add("kind", "can't be changed")
        _fill(by, collection, given, problems)
        problems.raise_if_any()
        _save(collection)
        _record(by, "change", collection, before=before)
        sequence = announce(collection)
    return Saved(value=collection, sequence=sequence, warnings=_warnings(given, collection))


def purge_cache(*, by: Actor, collection_id: int) -> Saved[Collection]:
    """Forget every kept answer of a collection."""
    with transaction.atomic():
        collection = locked(by, collection_id)
        collection.cache_generation += 1
        collection.save(update_fields=["cache_generation"])
        _record(by, "purge_cache", collection)
        sequence = announce(collection)
    return Saved(value=collection, sequence=sequence)


def delete(*, by: Actor, collection_id: int, if_match: str | None = None) -> Saved[None]:
    """Delete a collection that no access profile includes; raises InUse."""
    with transaction.atomic():
        collection = locked(by, collection_id)
        etags.check(collection, if_match)
        users = collection.profiles.count()
        if users:
            raise InUse(f"The API collection is in {users} access profile{'s' * (users > 1)}")
        _record(by, "delete", collection)
        sequence = feed.announce(feed.Kind.COLLECTION, collection.pk)
        collection.delete()
    return Saved(value=None, sequence=sequence)


def document(
    by: Actor, collection_id: int, method: AuthMethod = AuthMethod.TOKEN
) -> Mapping[str, object]:
    """The collection as an OpenAPI document for a consumer with `method`: the active endpoints."""
    collection = find(by, collection_id)
    gateway = public_urls.gateway_url()
    operations = [
        openapi.Operation(
            name=endpoint.name,
            method=endpoint.method,
            path=endpoint.path,
            description=endpoint.description,
        )
        for endpoint in collection.endpoints.filter(active=True).order_by("pk")
    ]
    return openapi.write(
        title=collection.name,
        version=collection.version,
        description=collection.description,
        url=f"{gateway}/{collection.handle}",
        operations=operations,
        method=method,
        token_url=f"{gateway}/oauth2/token",
        leave_authorization=collection.leave_authorization,
    )


def locked(by: Actor, collection_id: int) -> Collection:
    """The collection, locked for a change by an editor."""
    found = find(by, collection_id)
    require(by, Role.EDITOR, found.project_id)
    return Collection.objects.select_for_update().get(pk=found.pk)


def announce(collection: Collection) -> int:
    sequence = feed.announce(feed.Kind.COLLECTION, collection.pk)
    Collection.objects.filter(pk=collection.pk).update(epoch=sequence)
    collection.epoch = sequence
    return sequence


def _warnings(given: Given, collection: Collection) -> tuple[str, ...]:
    """What to say beside a save of what was given."""
    return (ENCODED_SLASHES,) if given.encoded_slashes and collection.encoded_slashes else ()


def _document(document: tuple[str, str] | None) -> openapi.Document | None:
    if document is None:
        return None
    try:
        return documents.read(*document)
    except openapi.BadDocument as error:
        raise Invalid({"openapi_spec": [str(error)]}) from None


def _kind(problems: fields.Problems, given: Given, read: openapi.Document | None) -> str:
    implied = "proxy" if read is not None or given.connection_id is not None else "recipe"
    kind = implied if given.kind is None else fields.choice(
        problems, "kind", given.kind, Collection.Kind.values
    )  # fmt: skip
    if kind == "recipe" and implied == "proxy":
        problems.add("kind", "a recipe collection has no connection and no document")
    return kind or implied


def _fill(by: Actor, collection: Collection, given: Given, problems: fields.Problems) -> None:
    if given.name is not None or not collection.pk:
        collection.name = fields.text(problems, "name", given.name)
    if given.version is not None:
        collection.version = fields.text(problems, "version", given.version, maximum=32)
    if given.description is not None:
        collection.description = fields.text(
            problems, "description", given.description, maximum=4000, required=False, lines=True
        )
    if given.handle is not None:
        before = collection.handle
        collection.handle = fields.text(problems, "handle", given.handle, maximum=100)
        if collection.handle in RESERVED and collection.handle != before:
            problems.add("handle", f"{collection.handle} is reserved for the gateway itself")
        elif not _HANDLE.fullmatch(collection.handle):
            problems.add("handle", "must be letters, digits, dots and hyphens")
    if given.connection_id is not None:
        collection.connection = _connection(by, collection, given.connection_id, problems)
    if given.forward_credential is not None:
        collection.forward_credential = given.forward_credential
    if given.forward_claims is not None:
        collection.forward_claims = given.forward_claims
    if given.encoded_slashes is not None:
        collection.encoded_slashes = given.encoded_slashes
    if given.cache_seconds is not None:
        collection.cache_seconds = fields.number(
            problems, "cache_seconds", given.cache_seconds, least=0, most=endpoints.LONGEST_CACHED, default=0
        ) or 0  # fmt: skip
        if collection.cache_seconds and collection.kind == Collection.Kind.RECIPE:
            problems.add("cache_seconds", "answers of recipes can't be kept")
    if given.cache_shared is not None:
        collection.cache_shared = given.cache_shared
    _fill_cors(collection, given, problems)
    _fill_consumers(collection, given, problems)


def _fill_cors(collection: Collection, given: Given, problems: fields.Problems) -> None:
    if given.cors_origins is not None:
        collection.cors_origins = _origins(problems, given.cors_origins)
    if given.cors_credentials is not None:
        collection.cors_credentials = given.cors_credentials
    if given.cors_exposed_headers is not None:
        collection.cors_exposed_headers = _exposed(problems, given.cors_exposed_headers)
    if given.cors_max_age is not None:
        collection.cors_max_age = fields.number(
            problems, "cors_max_age", given.cors_max_age, least=0, most=LONGEST_MAX_AGE, default=600
        ) or 0  # fmt: skip
    if not collection.cors_credentials:
        return
    if origins.ANY in collection.cors_origins:
        problems.add(
            "cors_credentials",
            "can't be on for every origin (*): any page could act as its visitor",
        )
    if origins.OPAQUE in collection.cors_origins:
        problems.add(
            "cors_credentials", "can't be on for the origin null: any page can send it"
        )  # fmt: skip


def _fill_consumers(collection: Collection, given: Given, problems: fields.Problems) -> None:
    if given.credential_places is not None:
        collection.credential_places = _places(problems, given.credential_places)
    if given.leave_authorization is not None:
        collection.leave_authorization = given.leave_authorization
    if not collection.leave_authorization:
        return
    if collection.kind != Collection.Kind.PROXY:
        problems.add("leave_authorization", "is for proxy collections")
    if collection.connection is not None and sets_authorization(collection.connection):
        problems.add(
            "leave_authorization",
            "can't be on, since the connection sets Authorization itself; have it authenticate otherwise",
        )


def sets_authorization(connection: Connection) -> bool:
    """Whether calls of a connection get an Authorization header from us."""
    if connection.auth_type == Connection.Auth.HEADER:
        return connection.auth_name.lower() == "authorization"
    return connection.auth_type in {Connection.Auth.BASIC, Connection.Auth.OAUTH2}


def _connection(
    by: Actor, collection: Collection, connection_id: int, problems: fields.Problems
) -> Connection | None:
    if collection.pk and collection.kind != Collection.Kind.PROXY:
        problems.add("proxy_connection_id", "a recipe collection has no connection")
        return None
    try:
        connection = connections.find(by, connection_id)
    except NotFound:
        problems.add("proxy_connection_id", "is no connection")
        return None
    if connection.project_id != collection.project_id:
        problems.add("proxy_connection_id", "must be in the collection's project")
    return connection


def _places(problems: fields.Problems, value: object) -> list[str] | None:
    if value == INHERITED:
        return None
    if not isinstance(value, Sequence) or isinstance(value, str):
        problems.add("credential_places", f"must be a list of at most {places.MOST} places")
        return []
    try:
        return [str(place) for place in places.parse_all(value)]
    except places.BadPlace as error:
        problems.add("credential_places", str(error))
        return []


def _exposed(problems: fields.Problems, value: object) -> list[str]:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > MOST_EXPOSED:
        problems.add(
            "cors_exposed_headers", f"must be a list of at most {MOST_EXPOSED} header names"
        )
        return []
    found: dict[str, str] = {}
    for name in value:
        if not isinstance(name, str) or not _HEADER.fullmatch(name):
            problems.add("cors_exposed_headers", f"{str(name)[:80]!r} is no name of a header")
        else:
            found.setdefault(name.lower(), name)
    return list(found.values())


def _origins(problems: fields.Problems, value: object) -> list[str]:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > MOST_ORIGINS:
        problems.add("cors_origins", f"must be a list of at most {MOST_ORIGINS} origins")
        return []
    found: dict[str, None] = {}
    for origin in value:
        try:
            found[origins.parse_allowed(origin if isinstance(origin, str) else "")] = None
        except origins.BadOrigin as error:
            problems.add("cors_origins", f"{str(origin)[:80]!r} {error}")
    return list(found)


def _connection_for(
    by: Actor, project: Project, name: str, read: openapi.Document
) -> tuple[Connection | None, str]:
    """A connection to the document's first absolute server, or why there is none."""
    if read.server_url is None:
        return None, f"The document {read.server_problem}."
    taken = set(Connection.objects.filter(project=project).values_list("name", flat=True))
    free = next(n for n in (name, *(f"{name} {i}" for i in range(2, 10_000))) if n not in taken)
    try:
        given = connections.Input(base_urls=read.server_url)
        made = connections.create(by=by, name=free, project_id=project.pk, given=given)
    except Invalid as error:
        said = "; ".join(sentence for each in error.errors.values() for sentence in each)
        return None, f"No connection was made to {read.server_url}: it {said}."
    return made.value, ""


def _free_handle(name: str, version: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", anyascii(name).lower())[:80].strip("-") or "api"
    major = re.match(r"\d+", version)
    handle = f"{slug}-v{major[0] if major else 1}"
    taken = set(
        Collection.objects.filter(handle__startswith=handle).values_list("handle", flat=True)
    )
    candidates = (handle, *(f"{handle}-{i}" for i in range(2, 10_000)))
    return next(h for h in candidates if h not in taken and h not in RESERVED)


def _save(collection: Collection) -> None:
    try:
        with transaction.atomic():
            collection.save()
    except IntegrityError:
        raise Invalid({"handle": ["has already been taken"]}) from None


def _shown(collection: Collection) -> Mapping[str, object]:
    return {
        "name": collection.name,
        "version": collection.version,
        "handle": collection.handle,
        "description": collection.description,
        "kind": collection.kind,
        "connection_id": collection.connection_id,
        "cors_origins": collection.cors_origins,
        "forward_credential": collection.forward_credential,
        "forward_claims": collection.forward_claims,
        "encoded_slashes": collection.encoded_slashes,
        "cors_credentials": collection.cors_credentials,
        "cors_exposed_headers": collection.cors_exposed_headers,
        "cors_max_age": collection.cors_max_age,
        "leave_authorization": collection.leave_authorization,
        "credential_places": collection.credential_places,
        "cache_seconds": collection.cache_seconds,
        "cache_shared": collection.cache_shared,
    }


def _record(
    by: Actor, verb: str, collection: Collection, before: Mapping[str, object] | None = None
) -> None:
    audit_log.record(
        by,
        f"collection.{verb}",
        target_kind="collection",
        target_id=collection.pk,
        target_name=collection.name,
        project_id=collection.project_id,
        before=before,
        after=_shown(collection),
    )
