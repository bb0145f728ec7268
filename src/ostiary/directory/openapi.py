"""OpenAPI documents in and out: what can become an endpoint, and what a collection looks like.

Reads OpenAPI 3.0 and 3.1 in JSON or YAML. Pure; knows no table.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import assert_never
from urllib.parse import unquote, urlsplit

import yaml

from ostiary.access.methods import AuthMethod
from ostiary.access.paths import METHODS, BadTemplate, Template, parse_template

LARGEST = 5 * 1024 * 1024
MOST_ENDPOINTS = 5000
#: Entries of path items. References can make a small document say much, all of it in the report.
MOST_ENTRIES = 20_000
#: Nothing that people write is nested so deep, and readers slow down with the square of it.
DEEPEST = 100
#: References that refer to references.
MOST_HOPS = 10

_VERSION = re.compile(r"3\.[01](\.[0-9A-Za-z.+-]*)?")
#: What a path item holds besides operations (OpenAPI 3.1, section 4.8.9).
_NO_OPERATION = frozenset({"$ref", "summary", "description", "servers", "parameters"})
_LOADER = yaml.CBaseLoader if yaml.__with_libyaml__ else yaml.BaseLoader


class BadDocument(Exception):
    """Not a document that endpoints can be taken from; the text is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    name: str
    method: str
    path: str
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    where: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """What became an endpoint, but not in all that the document says of it."""

    where: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    title: str
    version: str
    description: str
    #: The first absolute `servers` URL, its variables at their defaults.
    server_url: str | None
    operations: tuple[Operation, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[Noted, ...] = ()


def read(content: str, form: str) -> Document:
    """Read a document; `form` is `json` or `yaml`. Raises BadDocument."""
    if len(content.encode(errors="replace")) > LARGEST:
        raise BadDocument("The document is larger than 5 MB.")
    tree = _tree(content.removeprefix("\ufeff"), form)
    _check_version(tree)
    info = _mapping(tree.get("info"))
    found = tuple(_entries(tree))
    return Document(
        title=_line(info.get("title"), 255),
        version=_line(info.get("version"), 32),
        description=_text(info.get("description"), 4000),
        server_url=_server(tree.get("servers")),
        operations=tuple(entry for entry in found if isinstance(entry, Operation)),
        skipped=tuple(entry for entry in found if isinstance(entry, Skipped)),
        notes=tuple(entry for entry in found if isinstance(entry, Noted)),
    )


def _check_version(tree: Mapping[str, object]) -> None:
    if "swagger" in tree:
        raise BadDocument("This is a Swagger 2.0 document; convert it to OpenAPI 3 first.")
    version = tree.get("openapi")
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise BadDocument("The document does not say openapi: 3.0 or 3.1.")
    if tree.get("paths") not in (None, "") and not isinstance(tree.get("paths"), dict):
        raise BadDocument("The document's paths are no object.")


def _tree(content: str, form: str) -> Mapping[str, object]:
    """The document as objects, lists and texts: numbers stay as they are written.

    It is only ever looked at by name: an alias that stands for much costs nothing, as long as
    nobody copies or prints what it stands for.
    """
    try:
        tree = _json(content) if form == "json" else _yaml(content)
    except json.JSONDecodeError as error:
        raise BadDocument(f"The document is not valid JSON: see line {error.lineno}.") from None
    except yaml.MarkedYAMLError as error:
        if "nesting" in (error.problem or ""):  # libyaml from 0.2.6 on has a limit of its own
            raise BadDocument("The document is nested too deep.") from None
        line = f": see line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise BadDocument(f"The document is not valid YAML{line}.") from None
    except (ValueError, yaml.YAMLError):
        raise BadDocument(f"The document is not valid {form.upper()}.") from None
    except RecursionError:
        raise BadDocument("The document is nested too deep.") from None
    if not isinstance(tree, dict):
        raise BadDocument("The document is no object.")
    return tree


def _json(content: str) -> object:
    return json.loads(
        content, object_pairs_hook=_object, parse_int=str, parse_float=str, parse_constant=str
    )


def _yaml(content: str) -> object:
    """Build the tree from the parser's events.

    PyYAML's own way from events to objects takes ten times as long, recurses in C, lets the last
    of two equal keys win and reads `1.10` as 1.1.
    """
    anchors: dict[str, object] = {}
    root: list[object] = []
    above: list[tuple[str | None, list[object]]] = [(None, root)]
    for event in yaml.parse(content, Loader=_LOADER):
        value: object
        match event:
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                if len(above) > DEEPEST:
                    raise BadDocument("The document is nested too deep.")
                above.append((event.anchor, []))
                continue
            case yaml.ScalarEvent():
                anchor, value = event.anchor, event.value
            case yaml.AliasEvent():
                if event.anchor not in anchors:
                    raise BadDocument("The document has a YAML alias for nothing or for itself.")
                anchor, value = None, anchors[event.anchor]
            case yaml.SequenceEndEvent():
                anchor, value = above.pop()
            case yaml.MappingEndEvent():
                anchor, items = above.pop()
                value = _object(zip(items[::2], items[1::2], strict=True))
            case _:
                continue
        if anchor:
            anchors[anchor] = value
        above[-1][1].append(value)
    if len(root) > 1:
        raise BadDocument("The file holds more than one YAML document.")
    return root[0] if root else None


def _object(pairs: Iterable[tuple[object, object]]) -> dict[str, object]:
    """An object's entries; of two that are named alike one would be lost without a word."""
    made: dict[str, object] = {}
    for key, value in pairs:
        if not isinstance(key, str):
            raise BadDocument("The document has a key that is no text.")
        if key in made:
            raise BadDocument(f"The document has {_line(key, 80)!r} twice in one object.")
        made[key] = value
    return made


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object, longest: int) -> str:
    """A text as the directory takes it; anything else is none."""
    if not isinstance(value, str):
        return ""
    kept = (c for c in value if c in "\n\t" or unicodedata.category(c) not in {"Cc", "Cs"})
    return "".join(kept).strip()[:longest].rstrip()


def _line(value: object, longest: int) -> str:
    return _text(" ".join(value.split()), longest) if isinstance(value, str) else ""


def _server(servers: object) -> str | None:
    for server in servers if isinstance(servers, list) else ():
        url = _with_defaults(_mapping(server))
        try:
            parts = urlsplit(url)
        except ValueError:
            continue
        if parts.scheme in {"http", "https"} and parts.netloc and "{" not in url:
            return url
    return None


def _with_defaults(server: Mapping[str, object]) -> str:
    url = server.get("url")
    if not isinstance(url, str) or len(url) > 2048:
        return ""
    for name, variable in _mapping(server.get("variables")).items():
        default = _mapping(variable).get("default")
        if isinstance(default, str) and len(default) <= 255:
            url = url.replace(f"{{{name}}}", default)
    return url if len(url) <= 2048 else ""


def _entries(tree: Mapping[str, object]) -> Iterator[Operation | Skipped | Noted]:
    """What each path item gives, in the document's order."""
    seen: set[tuple[str, str]] = set()
    budget = MOST_ENTRIES
    for path, given in _mapping(tree.get("paths")).items():
        if path.startswith("x-"):
            continue
        item = _resolved(tree, given)
        if isinstance(item, str):
            budget -= 1
            yield Skipped(where=_line(path, 200), reason=item)
        else:
            budget -= len(item)
        if budget < 0:
            raise BadDocument(f"The document has more than {MOST_ENTRIES} operations.")
        if not isinstance(item, str):
            yield from _item(path, item, seen)


def _resolved(tree: Mapping[str, object], item: object) -> Mapping[str, object] | str:
    """A path item with its references followed, or why that is not possible."""
    own: dict[str, object] = {}
    for _ in range(MOST_HOPS):
        if not isinstance(item, dict):
            return "is no object"
        if len(item) > MOST_ENTRIES:
            return "has too many entries"
        own = item | own
        reference = item.get("$ref")
        if reference is None:
            return own
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return "refers to another document"
        item = _pointed(tree, reference)
        own.pop("$ref")
        if item is None:
            return "refers to something that is not in the document"
    return "refers to itself, or through too many references"


def _pointed(tree: Mapping[str, object], reference: str) -> object:
    """RFC 6901, as a URI's fragment."""
    found: object = tree
    for part in reference[2:].split("/"):
        found = _mapping(found).get(unquote(part).replace("~1", "/").replace("~0", "~"))
    return found


def _item(
    path: str, item: Mapping[str, object], seen: set[tuple[str, str]]
) -> Iterator[Operation | Skipped | Noted]:
    if item.get("servers"):
        yield Noted(where=_line(path, 200), note="its own servers are not used")
    for key, operation in item.items():
        if key in _NO_OPERATION or key.startswith("x-"):
            continue
        where = _line(f"{key.upper()} {path}", 200)
        read = _operation(path, key.upper(), operation)
        if isinstance(read, str):
            yield Skipped(where=where, reason=read)
            continue
        template, taken = read
        if (taken.method, template.shape) in seen:
            yield Skipped(where=where, reason="another operation has the same method and path")
        elif len(seen) >= MOST_ENDPOINTS:
            yield Skipped(where=where, reason=f"more than {MOST_ENDPOINTS} endpoints")
        else:
            seen.add((taken.method, template.shape))
            yield taken
            if _mapping(operation).get("servers"):
                yield Noted(where=where, note="its own servers are not used")


def _operation(path: str, method: str, operation: object) -> tuple[Template, Operation] | str:
    """An operation as an endpoint, or why it cannot be one."""
    if method not in METHODS:
        return "TRACE is not passed on" if method == "TRACE" else "is no method that is passed on"
    if not isinstance(operation, dict):
        return "is no object"
    try:
        template = parse_template(path)
    except BadTemplate as error:
        return f"the path {error}"
    names = (_line(operation.get(key), 255) for key in ("summary", "operationId"))
    return template, Operation(
        name=next(filter(None, names), f"{method} {template.text}"[:255]),
        method=method,
        path=template.text,
        description=_text(operation.get("description"), 4000),
    )


def write(
    *,
    title: str,
    version: str,
    description: str,
    url: str,
    operations: Iterable[Operation],
    method: AuthMethod = AuthMethod.TOKEN,
    token_url: str = "",
    leave_authorization: bool = False,
) -> dict[str, object]:
    """A collection as an OpenAPI 3.1 document for its consumers.

    `method` is how the reader's profile proves itself; for OAuth 2.0 `token_url` is where it gets
    its access tokens. With `leave_authorization`, Authorization is the upstream's.
    """
    token = {"type": "apiKey", "in": "header", "name": "API-TOKEN"}
    schemes = {"apiToken": token} if leave_authorization else _schemes(method, token_url)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": description},
        "servers": [{"url": url}],
        "security": [{name: []} for name in schemes],
        "paths": _paths(operations),
        "components": {"securitySchemes": schemes},
    }


def _schemes(method: AuthMethod, token_url: str) -> dict[str, object]:
    match method:
        case AuthMethod.TOKEN:
            return {
                "apiToken": {"type": "apiKey", "in": "header", "name": "API-TOKEN"},
                "bearer": {"type": "http", "scheme": "bearer"},
            }
        case AuthMethod.OAUTH2:
            flow = {"tokenUrl": token_url, "scopes": {}}
            return {"oauth2": {"type": "oauth2", "flows": {"clientCredentials": flow}}}
        case AuthMethod.JWT | AuthMethod.OIDC:
            return {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    assert_never(method)


def _paths(operations: Iterable[Operation]) -> dict[str, dict[str, object]]:
    """Path items. Paths that differ in parameters' names alone are one (section 4.8.8)."""
    paths: dict[str, dict[str, object]] = {}
    templates: dict[str, Template] = {}
    for operation in operations:
        template = parse_template(operation.path)
        template = templates.setdefault(template.shape, template)
        item = paths.setdefault(template.text, {})
        item[operation.method.lower()] = _entry(operation, template)
    return paths


def _entry(operation: Operation, template: Template) -> dict[str, object]:
    entry: dict[str, object] = {
        "summary": operation.name,
        "responses": {"default": {"description": "The answer of the API"}},
    }
    if operation.description:
        entry["description"] = operation.description
    if template.parameters:
        entry["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in template.parameters
        ]
    return entry
