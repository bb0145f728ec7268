"""OpenAPI documents: what can become an endpoint, and what is kept of it for consumers.

Reads OpenAPI 3.0 and 3.1 and Swagger 2.0 in JSON or YAML. Pure; knows no table.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar
from urllib.parse import urlsplit

from ostiary.access.paths import ANY, METHODS, BadTemplate, Template, parse_template
from ostiary.directory.catalog import document_trees, openapi_operations, openapi_schemas
from ostiary.directory.catalog.document_trees import flag, line, mapping, pointed, text
from ostiary.directory.catalog.openapi_operations import MOST_PARAMETERS, Source, Specification
from ostiary.directory.catalog.openapi_schemas import MOST_HOPS

BadDocument = document_trees.BadDocument
LARGEST_MEGABYTES = 50
LARGEST = LARGEST_MEGABYTES * 1024 * 1024
TOO_LARGE = f"The document is larger than {LARGEST_MEGABYTES} MB."
MOST_ENDPOINTS = 5000
#: Entries of path items. References can make a small document say much, all of it in the report.
MOST_ENTRIES = 20_000

_VERSION = re.compile(r"(3\.[01])(\.[0-9A-Za-z.+-]*)?")
#: Amazon's mark of an operation that takes every method.
ANY_METHOD = "x-amazon-apigateway-any-method"
#: Marks of ours: an operation that stands in the place of one with ANY, and a parameter that takes the
#: rest of the path.
OF_ANY, WILDCARD = "x-ostiary-any", "x-ostiary-wildcard"
#: How others write the rest of a path at its end: Amazon, URI templates (RFC 6570), Azure.
_GREEDY = re.compile(r"\{(?:([A-Za-z_]\w*)[+*]|[+*]([A-Za-z_]\w*)|\*{2}([A-Za-z_]\w*))\}\Z")
#: What some documents put behind a path to tell operations with the same path apart.
_VARIANT = re.compile(r"[?#].*", re.DOTALL)
#: What a path item holds besides operations (OpenAPI 3.1, section 4.8.9).
_NO_OPERATION = frozenset({"$ref", "summary", "description", "servers", "parameters"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    name: str
    method: str
    path: str
    description: str = ""

    @property
    def title(self) -> str:
        """As people know it, such as `GET /orders/{id}`."""
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    where: str
    reason: str
    #: The line in the document; 0: it is not known.
    line: int = field(default=0, compare=False)

    @property
    def place(self) -> str:
        return placed(self.where, self.line)


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """What became an endpoint, but not in all that the document says of it."""

    where: str
    note: str
    line: int = field(default=0, compare=False)

    @property
    def place(self) -> str:
        return placed(self.where, self.line)


def placed(where: str, number: int) -> str:
    return f"{where} (line {number})" if number else where


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    title: str
    version: str
    description: str
    #: The first absolute `servers` URL, its variables at their defaults.
    server_url: str | None
    #: Why there is none, if there is none: a sentence without a subject.
    server_problem: str
    operations: tuple[Operation, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[Noted, ...] = ()
    #: What is kept for consumers; nothing if it is too much.
    specification: Specification | None = None


def read(content: str, form: str) -> Document:
    """Read a document; `form` is `json` or `yaml`. Raises BadDocument."""
    if len(content.encode(errors="replace")) > LARGEST:
        raise BadDocument(TOO_LARGE)
    parsed = document_trees.parse(content.removeprefix("\ufeff"), form)
    tree = parsed.root
    reading = openapi_schemas.Reading(
        root=tree,
        dialect=_dialect(tree),
        values=min(openapi_operations.MOST_VALUES, 100_000 + len(content) // 4),
        characters=min(openapi_operations.MOST_CHARACTERS, 2_000_000 + 4 * len(content)),
    )
    info = mapping(tree.get("info"))
    places: dict[str, tuple[str, str]] = {}
    found = tuple(_entries(tree, places))
    specification = openapi_operations.read(reading, _kinds(found, Source))
    lines = _Lines(parsed, places)
    remarks = [Noted(where=where, note=note) for where, note in reading.notes]
    server_url, server_problem = _swagger_server(tree) if "swagger" in tree else _server(tree)
    return Document(
        title=line(info.get("title"), 255),
        version=line(info.get("version"), 32),
        description=text(info.get("description"), 4000),
        server_url=server_url,
        server_problem=server_problem,
        operations=tuple(_kinds(found, Operation)),
        skipped=tuple(replace(e, line=lines.of(e.where)) for e in _kinds(found, Skipped)),
        notes=tuple(replace(e, line=lines.of(e.where)) for e in (*_kinds(found, Noted), *remarks)),
        specification=specification,
    )


E = TypeVar("E")


def _kinds(found: Iterable[object], kind: type[E]) -> Iterator[E]:
    return (entry for entry in found if isinstance(entry, kind))


class _Lines:
    """The lines of operations, looked up when the first of them is wanted."""

    def __init__(self, parsed: document_trees.Tree, places: Mapping[str, tuple[str, str]]) -> None:
        self._parsed, self._places = parsed, places

    @cached_property
    def _known(self) -> document_trees.Lines:
        return self._parsed.lines_of_paths()

    def of(self, where: str) -> int:
        """The line of an operation, else of its path; 0 for anything else."""
        if where not in self._places:
            return 0
        path, name = self._places[where]
        return self._known.get((path, name)) or self._known.get((path, ""), 0)


def _dialect(tree: Mapping[str, object]) -> str:
    """The version of OpenAPI; raises BadDocument."""
    if tree.get("paths") not in (None, "") and not isinstance(tree.get("paths"), dict):
        raise BadDocument("The document's paths must be an object.")
    if "swagger" in tree:
        if tree["swagger"] != "2.0" or "openapi" in tree:
            raise BadDocument("The document says swagger, and not swagger: 2.0 alone.")
        return "2.0"
    if "swaggerVersion" in tree:
        raise BadDocument("The document is Swagger 1; convert it to OpenAPI 3 first.")
    version = tree.get("openapi")
    said = _VERSION.fullmatch(version) if isinstance(version, str) else None
    if said is None:
        raise BadDocument("The document does not say openapi: 3.0 or 3.1, or swagger: 2.0.")
    return said[1]


def _server(tree: Mapping[str, object]) -> tuple[str | None, str]:
    """The first server that calls can go to, or why there is none."""
    servers, problem = tree.get("servers"), ""
    for server in servers if isinstance(servers, list) else ():
        url = _with_defaults(mapping(server))
        said = _no_server(url)
        if not said:
            return url, ""
        problem = problem or said
    return None, problem or "names no server"


def _no_server(url: str) -> str:
    """Why a URL can't be a server, or nothing."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return f"has a server URL that does not read: {line(url, 100)!r}"
    if "{" in url:
        return f"has a server URL with a variable that has no default: {line(url, 100)!r}"
    if not parts.netloc or not parts.scheme:
        return f"has a server URL without a scheme and host: {line(url, 100)!r}"
    if parts.scheme not in {"http", "https"}:
        return f"has a server URL that is not http or https: {line(url, 100)!r}"
    return ""


def _swagger_server(tree: Mapping[str, object]) -> tuple[str | None, str]:
    """The server of a Swagger 2.0 document; https, if it may be chosen."""
    host, base = line(tree.get("host"), 300), line(tree.get("basePath"), 1000)
    if not host:
        return None, "names no host"
    schemes = tree.get("schemes")
    offered = [s for s in schemes if isinstance(s, str)] if isinstance(schemes, list) else []
    scheme = "http" if offered and "https" not in offered else "https"
    url = f"{scheme}://{host}{base.rstrip('/')}"
    said = _no_server(url)
    return (None, said) if said else (url, "")


def _with_defaults(server: Mapping[str, object]) -> str:
    url = server.get("url")
    if not isinstance(url, str) or len(url) > 2048:
        return ""
    for name, variable in mapping(server.get("variables")).items():
        default = mapping(variable).get("default")
        if isinstance(default, str) and len(default) <= 255:
            url = url.replace(f"{{{name}}}", default)
    return url if len(url) <= 2048 else ""


def _entries(
    tree: Mapping[str, object], places: dict[str, tuple[str, str]]
) -> Iterator[Operation | Source | Skipped | Noted]:
    """What each path item gives, in the document's order; variants of paths come after all others.

    `places` gets the path and the key of each operation, by what people call it.
    """
    seen: dict[tuple[str, str], str] = {}
    budget = MOST_ENTRIES
    paths = mapping(tree.get("paths"))
    for path, given in sorted(paths.items(), key=lambda each: _VARIANT.sub("", each[0]) != each[0]):
        if path.startswith("x-"):
            continue
        item = _resolved(tree, given)
        places.setdefault(line(path, 200), (path, ""))
        if isinstance(item, str):
            budget -= 1
            yield Skipped(where=line(path, 200), reason=item)
        else:
            budget -= len(item)
        if budget < 0:
            raise BadDocument(f"The document has more than {MOST_ENTRIES} operations.")
        if not isinstance(item, str):
            yield from _item(tree, path, item, seen, places)


def _resolved(tree: Mapping[str, object], item: object) -> Mapping[str, object] | str:
    """A path item with its references followed, or why that is not possible."""
    own: dict[str, object] = {}
    for _ in range(MOST_HOPS):
        if not isinstance(item, dict):
            return "isn't an object"
        if len(item) > MOST_ENTRIES:
            return "has too many entries"
        own = item | own
        reference = item.get("$ref")
        if reference is None:
            return own
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return "refers to another document"
        item = pointed(tree, reference)
        own.pop("$ref")
        if item is None:
            return "refers to something that is not in the document"
    return "refers to itself, or through too many references"


def _item(
    tree: Mapping[str, object],
    path: str,
    item: Mapping[str, object],
    seen: dict[tuple[str, str], str],
    places: dict[str, tuple[str, str]],
) -> Iterator[Operation | Source | Skipped | Noted]:
    if item.get("servers"):
        yield Noted(where=line(path, 200), note="its own servers are not used")
    alone = _VARIANT.sub("", path)
    for key, operation in item.items():
        if key in _NO_OPERATION or (key.startswith("x-") and key != ANY_METHOD):
            continue
        if ANY_METHOD in item and flag(mapping(operation).get(OF_ANY)):
            continue
        method = ANY if key == ANY_METHOD else key.upper()
        where = line(f"{method} {path}", 200)
        places.setdefault(where, (path, key))
        taken_path, note = _with_wildcard(alone, _parameters(tree, item, operation))
        read = _operation(taken_path, method, operation, anything=key == ANY_METHOD)
        if isinstance(read, str):
            yield Skipped(where=where, reason=read)
            continue
        template, taken = read
        if (other := seen.get((taken.method, template.shape))) is not None:
            reason = f"another operation has the same method and path: {other}"
            yield Skipped(where=where, reason=reason)
        elif len(seen) >= MOST_ENDPOINTS:
            yield Skipped(where=where, reason=f"more than {MOST_ENDPOINTS} endpoints")
        else:
            seen[taken.method, template.shape] = where
            yield taken
            yield Source(
                key=openapi_operations.key(taken.method, template.shape),
                where=where,
                item=item,
                operation=mapping(operation),
                names=template.parameters,
            )
            if note:
                yield Noted(where=where, note=note)
            if alone != path:
                told = f"{line(path[len(alone) :], 100)} can't be part of a path: {alone} is imported without it"
                yield Noted(where=where, note=told)
            if mapping(operation).get("servers"):
                yield Noted(where=where, note="its own servers are not used")


def _parameters(
    tree: Mapping[str, object], item: Mapping[str, object], operation: object
) -> Iterator[Mapping[str, object]]:
    """The parameters of an operation and of its path item, with their references followed."""
    for given in (mapping(operation).get("parameters"), item.get("parameters")):
        for parameter in given[:MOST_PARAMETERS] if isinstance(given, list) else ():
            found = _resolved(tree, parameter)
            if not isinstance(found, str):
                yield found


def _with_wildcard(path: str, parameters: Iterable[Mapping[str, object]]) -> tuple[str, str]:
    """A path whose end takes the rest, in our spelling, and what to say of it."""
    start, slash, last = path.rpartition("/")
    if greedy := _GREEDY.fullmatch(last):
        token = f"{{{greedy[1] or greedy[2] or greedy[3]}...}}"
        return f"{start}{slash}{token}", f"{last} is taken as {token}, the rest of the path"
    for parameter in parameters:
        name = parameter.get("name")
        if not isinstance(name, str) or name.endswith("...") or last != f"{{{name}}}":
            continue
        if flag(parameter.get(WILDCARD)):
            return f"{start}{slash}{{{name}...}}", ""
    return path, ""


def _operation(
    path: str, method: str, operation: object, *, anything: bool
) -> tuple[Template, Operation] | str:
    """An operation as an endpoint, or why it cannot be one."""
    if method not in METHODS and not anything:
        return (
            "the gateway does not forward TRACE"
            if method == "TRACE"
            else "isn't a method that the gateway forwards"
        )
    if not isinstance(operation, dict):
        return "isn't an object"
    try:
        template = parse_template(path)
    except BadTemplate as error:
        return f"the path {error}"
    return template, Operation(
        name=named(operation) or f"{method} {template.text}"[:255],
        method=method,
        path=template.text,
        description=described(operation),
    )


def named(operation: Mapping[str, object]) -> str:
    """The name that an operation has in the document, if any."""
    names = (line(operation.get(key), 255) for key in ("summary", "operationId"))
    return next(filter(None, names), "")


def described(operation: Mapping[str, object]) -> str:
    """The description that an operation has in the document, as endpoints have it."""
    return text(operation.get("description"), 4000)
