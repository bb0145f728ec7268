"""Collections: versioned groups of endpoints under one path."""

import re
from collections.abc import Collection as Several
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar

from anyascii import anyascii
from django.db import IntegrityError, transaction
from django.db.models import Count, Q, QuerySet
from pydantic import AfterValidator, Field

from ostiary.access.methods import AuthMethod
from ostiary.directory.actor import Actor, Role
from ostiary.directory.catalog import (
    connections,
    documents,
    endpoints,
    import_reports,
    openapi,
    openapi_exports,
    specifications,
)
from ostiary.directory.catalog.import_reports import Imported
from ostiary.directory.changes import audit_log, deletions, etags, feed, finding, keys
from ostiary.directory.changes.confirmation import Saved, unchanged
from ostiary.directory.changes.errors import InUse, Invalid, NotFound
from ostiary.directory.changes.inputs import (
    BLANK,
    Checked,
    Description,
    Flag,
    IdOrNull,
    ListOf,
    Name,
    OneOf,
    OrInherited,
    Problems,
    Text,
    Whole,
    refusal,
)
from ostiary.directory.changes.permission import project_of, require
from ostiary.directory.changes.snapshots import snapshot
from ostiary.directory.models import (
    AccessProfile,
    Collection,
    Connection,
    Endpoint,
    ImportedSpecification,
    ImportReport,
    Project,
)
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


class _Origin(Checked):
    names_value = True

    def checked(self, value: object) -> str:
        try:
            return origins.parse_allowed(value if isinstance(value, str) else "")
        except origins.BadOrigin as error:
            raise refusal("origin", f"{str(value)[:80]!r} {error}") from None


class _Exposed(Checked):
    """A header of an answer that pages may read."""

    names_value = True

    def checked(self, value: object) -> str:
        if not isinstance(value, str) or not _HEADER.fullmatch(value):
            raise refusal("header", f"{str(value)[:80]!r} isn't a header name")
        if value.lower() in {"set-cookie", "set-cookie2"}:
            raise refusal(
                "header", f"{value!r} can't be read by pages: browsers keep it to themselves"
            )
        return value


def _once(texts: list[str]) -> list[str]:
    """Each text once, whatever its case."""
    found: dict[str, str] = {}
    for text in texts:
        found.setdefault(text.lower(), text)
    return list(found.values())


class _Places(Checked):
    def checked(self, value: object) -> list[str]:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise refusal("type", f"must be a list of at most {places.MOST} places")
        try:
            return [str(place) for place in places.parse_all(value)]
        except places.BadPlace as error:
            raise refusal("place", str(error)) from None


def _handle(text: str) -> str:
    if text and not _HANDLE.fullmatch(text):
        raise refusal("handle", "must be letters, digits, dots and hyphens")
    return text


class CollectionInput(keys.LabelledInput):
    """Input for a collection. Without `kind`, the other fields imply it."""

    required: ClassVar[tuple[str, ...]] = ("name",)
    fixed: ClassVar[tuple[str, ...]] = ("project_id", "kind")
    apart: ClassVar[tuple[str, ...]] = ("handle", "connection_id")

    name: Name = ""
    project_id: IdOrNull = None
    kind: Annotated[str | None, OneOf(Collection.Kind.values)] = None
    connection_id: IdOrNull = Field(None, alias="proxy_connection_id")
    #: Empty: made of the name.
    handle: Annotated[str, Text(maximum=100, required=False), AfterValidator(_handle)] = ""
    version: Annotated[str, Text(maximum=32)] = "1.0"
    description: Description = ""
    cors_origins: Annotated[
        list[str], ListOf(each=_Origin(), most=MOST_ORIGINS), AfterValidator(_once)
    ] = []
    forward_credential: Flag = False
    forward_claims: Flag = False
    #: Whether `%2F`, `%5C` and `;` may stand within segments of paths.
    encoded_slashes: Flag = False
    cors_credentials: Flag = False
    cors_exposed_headers: Annotated[
        list[str], ListOf(each=_Exposed(), most=MOST_EXPOSED), AfterValidator(_once)
    ] = []
    cors_max_age: Annotated[int, Whole(least=0, most=LONGEST_MAX_AGE)] = 600
    leave_authorization: Flag = False
    #: A list as in the settings; null or `inherited`: the workspace's.
    credential_places: Annotated[list[str] | None, OrInherited(_Places())] = None
    #: Seconds that answers to GET are kept at most; 0: they are not.
    cache_seconds: Annotated[int, Whole(least=0, most=endpoints.LONGEST_CACHED)] = 0
    #: Whether they are given to other profiles as well.
    cache_shared: Flag = False


#: The name of a collection, or of an endpoint, that a profile has and its reader does not see.
HIDDEN = "one of another project"


def seen(by: Actor, profiles: Iterable[AccessProfile]) -> frozenset[int]:
    """The collections of these profiles that `by` may see: a profile may span projects."""
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
    """Collections of a project, if one is given, with each word of a text in name, handle or labels."""
    found = collections(by).select_related("project")
    if project_id is not None:
        found = found.filter(project_id=project_id)
    if search:
        found = finding.with_words(found, search, ("name", "handle"), labelled=True)
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


def check_may_create(by: Actor, given: CollectionInput) -> Project:
    """The project that a new collection is for; raises Invalid, NotFound, Forbidden."""
    given.check_complete()
    project = project_of(by, given.project_id)
    require(by, Role.EDITOR, project.pk)
    return project


def create(
    *,
    by: Actor,
    given: CollectionInput,
    document: tuple[str, str] | openapi.Document | None = None,
    active: bool | Several[str] = False,
    chosen: Several[str] | None = None,
) -> Saved[Imported]:
    """Make a collection, from an OpenAPI document if one is given: its content and form, or read.

    `chosen`: the operations that are taken, such as `GET /orders`; empty: all. `active`: whether its
    endpoints may be called at once, or which of them.
    """
    project = check_may_create(by, given)
    read = read_document(*document) if isinstance(document, tuple) else document
    if read is not None and chosen is not None:
        read = replace(read, operations=tuple(o for o in read.operations if o.title in chosen))
    collection = Collection(project=project)
    problems = Problems(CollectionInput)
    collection.kind = _kind(problems, given, read)
    _fill(by, collection, given, problems)
    if read is not None:
        _describe(collection, given, read)
    problems.raise_if_any()
    with transaction.atomic():
        added = len(read.operations) if read is not None else 0
        project_quotas.check(project.pk, api_collections=1, api_endpoints=added)
        problem = ""
        if read is not None and collection.connection is None:
            collection.connection, problem = _connection_for(by, project, collection.name, read)
        _save_new(collection)
        _record(by, "create", collection)
        imported = Imported(collection=collection)
        if read is not None:
            imported = _take(collection, read, problem, active=active)
        sequence = announce(collection)
    said = (*imported.warnings, *_warnings(given, collection))
    return Saved(value=imported, sequence=sequence, adds=True, warnings=said)


def _take(
    collection: Collection, read: openapi.Document, problem: str, *, active: bool | Several[str]
) -> Imported:
    """Make a document's endpoints, and keep the report of it."""
    made = endpoints.add_imported(
        collection,
        read.operations,
        active=lambda each: active if isinstance(active, bool) else each.title in active,
    )
    specifications.keep(collection, specifications.of(read, made))
    imported = Imported(
        collection=collection,
        read=read,
        taken=len(read.operations),
        skipped=read.skipped,
        notes=read.notes,
        warnings=import_reports.warnings(no_connection=problem),
    )
    import_reports.keep(imported)
    return imported


def import_report(by: Actor, collection_id: int) -> ImportReport:
    """The import report of a collection; raises NotFound."""
    return import_reports.report(find(by, collection_id))


def dismiss_import_report(*, by: Actor, collection_id: int, if_match: str | None = None) -> None:
    """Delete the report of a collection's import; raises NotFound, Forbidden, Stale."""
    with transaction.atomic():
        collection = locked(by, collection_id)
        report = import_reports.report(collection)
        etags.check_tag(etags.of_value((report.pk, report.created_at)), if_match)
        import_reports.dismiss(by=by, collection=collection)


def change(
    *, by: Actor, collection_id: int, given: CollectionInput, if_match: str | None = None
) -> Saved[Collection]:
    """Change what was sent of a collection; its kind stays."""
    with transaction.atomic():
        collection = locked(by, collection_id)
        etags.check(collection, if_match)
        given.check_fixed(collection)
        before, stored = _shown(collection), snapshot(collection)
        problems = Problems(CollectionInput)
        _fill(by, collection, given, problems)
        problems.raise_if_any()
        if snapshot(collection) == stored:
            return unchanged(collection, collection.epoch, _warnings(given, collection))
        _save(collection)
        _record(by, "change", collection, before=before)
        sequence = announce(collection)
    return Saved(value=collection, sequence=sequence, warnings=_warnings(given, collection))


def purge_cache(*, by: Actor, collection_id: int, if_match: str | None = None) -> Saved[Collection]:
    """Purge every cached answer of a collection."""
    with transaction.atomic():
        collection = locked(by, collection_id)
        etags.check(collection, if_match)
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
        following = collection.defaults.count()
        if following:
            plural = "s" * (following > 1)
            raise InUse(f"The API collection is in the defaults of {following} client{plural}")
        _keep(by, collection)
        _record(by, "delete", collection)
        sequence = feed.announce(feed.Kind.COLLECTION, collection.pk)
        collection.delete()
    return Saved(value=None, sequence=sequence)


def _keep(by: Actor, collection: Collection) -> None:
    parts = [
        *Endpoint.objects.filter(collection=collection).order_by("pk"),
        *ImportedSpecification.objects.filter(collection=collection),
        *ImportReport.objects.filter(collection=collection),
    ]
    count = sum(isinstance(each, Endpoint) for each in parts)
    deletions.keep(
        by,
        "collection",
        collection,
        project_id=collection.project_id,
        besides=parts,
        takes={"endpoints": count},
    )


def document(
    by: Actor, collection_id: int, method: AuthMethod = AuthMethod.TOKEN
) -> Mapping[str, object]:
    """The collection as an OpenAPI document for a consumer with `method`: the active endpoints."""
    collection = find(by, collection_id)
    gateway = public_urls.gateway_url()
    active = [*collection.endpoints.filter(active=True).order_by("pk")]
    stored = specifications.stored(collection)
    return openapi_exports.write(
        title=collection.name,
        version=collection.version,
        description=collection.description,
        url=f"{gateway}/{collection.handle}",
        operations=map(specifications.operation, active),
        specification=stored.of_endpoints(active),
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


def _warnings(given: CollectionInput, collection: Collection) -> tuple[str, ...]:
    """Warnings to show after a save."""
    return (ENCODED_SLASHES,) if given.encoded_slashes and collection.encoded_slashes else ()


def read_document(content: str, form: str) -> openapi.Document:
    """Read an OpenAPI document, which may take long; raises Invalid if nothing can be taken."""
    try:
        read = documents.read(content, form)
    except openapi.BadDocument as error:
        raise Invalid({"openapi_spec": [str(error)]}) from None
    if not read.operations:
        raise Invalid({"openapi_spec": [*import_reports.nothing_taken(read)]})
    return read


def _describe(collection: Collection, given: CollectionInput, read: openapi.Document) -> None:
    """Take version and description from a document, where nobody named others."""
    if not given.has("version") and read.version:
        collection.version = read.version
    if not given.has("description") and read.description:
        collection.description = read.description


def _kind(problems: Problems, given: CollectionInput, read: openapi.Document | None) -> str:
    implied = "proxy" if read is not None or given.connection_id is not None else "recipe"
    if given.kind == "recipe" and implied == "proxy":
        problems.add("kind", "a recipe collection has no connection and no document")
    return given.kind or implied


def check(by: Actor, collection: Collection, given: CollectionInput) -> None:
    """Whether input fits a collection that nobody saves; raises Invalid."""
    problems = Problems(CollectionInput)
    if not collection.kind:
        collection.kind = _kind(problems, given, None)
    _fill(by, collection, given, problems)
    problems.raise_if_any()


def _fill(by: Actor, collection: Collection, given: CollectionInput, problems: Problems) -> None:
    given.assign(collection)
    if given.handle:
        if given.handle in RESERVED and given.handle != collection.handle:
            problems.add("handle", f"{given.handle} is reserved for the gateway itself")
        collection.handle = given.handle
    elif given.has("handle") and collection.pk:
        problems.add("handle", BLANK, code="blank")
    if given.has("connection_id"):
        collection.connection = _connection(by, collection, given.connection_id, problems)
    if collection.cache_seconds and collection.kind == Collection.Kind.RECIPE:
        problems.add("cache_seconds", "answers of recipes can't be kept")
    _check_cors(collection, problems)
    _check_consumers(collection, problems)


def _check_cors(collection: Collection, problems: Problems) -> None:
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


def _check_consumers(collection: Collection, problems: Problems) -> None:
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
    by: Actor, collection: Collection, connection_id: int | None, problems: Problems
) -> Connection | None:
    if connection_id is None or connection_id == collection.connection_id:
        return collection.connection if connection_id else None
    if collection.pk and collection.kind != Collection.Kind.PROXY:
        problems.add("connection_id", "a recipe collection has no connection")
        return None
    try:
        connection = connections.find(by, connection_id)
    except NotFound:
        problems.add("connection_id", "isn't the id of a connection")
        return None
    if connection.project_id != collection.project_id:
        problems.add("connection_id", "must be in the collection's project")
    return connection


def _connection_for(
    by: Actor, project: Project, name: str, read: openapi.Document
) -> tuple[Connection | None, str]:
    """A connection to the document's first absolute server, or why there is none."""
    if read.server_url is None:
        return None, f"The document {read.server_problem}."
    for last in range(_TRIES - 1, -1, -1):
        free = _free_name(project, name)
        try:
            given = connections.ConnectionInput.of(
                name=free, project_id=project.pk, base_urls=read.server_url
            )
            return connections.create(by=by, given=given).value, ""
        except Invalid as error:
            if last and _is_taken(project, free):
                # Another call took it meanwhile.
                continue
            said = error.sentences
            return None, f"No connection was made to {read.server_url}: it {said}."
    raise AssertionError


def _free_name(project: Project, name: str) -> str:
    taken = set(Connection.objects.filter(project=project).values_list("name", flat=True))
    return next(n for n in (name, *(f"{name} {i}" for i in range(2, 10_000))) if n not in taken)


def _is_taken(project: Project, name: str) -> bool:
    return Connection.objects.filter(project=project, name=name).exists()


def _free_handle(name: str, version: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", anyascii(name).lower())[:80].strip("-") or "api"
    major = re.match(r"\d+", version)
    handle = f"{slug}-v{major[0] if major else 1}"
    taken = set(
        Collection.objects.filter(handle__startswith=handle).values_list("handle", flat=True)
    )
    candidates = (handle, *(f"{handle}-{i}" for i in range(2, 10_000)))
    return next(h for h in candidates if h not in taken and h not in RESERVED)


#: How often a handle is looked up that another one has taken meanwhile.
_TRIES = 100


def _save_new(collection: Collection) -> None:
    """Save a new collection; without a handle of its own, with one that is free."""
    chosen = bool(collection.handle)
    for last in range(_TRIES - 1, -1, -1):
        if not chosen:
            collection.handle = _free_handle(collection.name, collection.version)
        try:
            return _save(collection)
        except Invalid:
            if chosen or not last:
                raise
    return None


def _save(collection: Collection) -> None:
    try:
        with transaction.atomic():
            collection.save()
    except IntegrityError:
        raise Invalid({"handle": ["has already been taken"]}) from None


def _shown(collection: Collection) -> Mapping[str, object]:
    return {
        **CollectionInput.stored(collection),
        "handle": collection.handle,
        "kind": collection.kind,
        "connection_id": collection.connection_id,
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
