"""OpenAPI documents in and out: what can become an endpoint, and what a collection looks like.

Reads OpenAPI 3.0 and 3.1 and Swagger 2.0 in JSON or YAML. Pure; knows no table.
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
from ostiary.access.paths import (
    ANY,
    METHODS,
    BadTemplate,
    Template,
    allowed,
    is_wildcard,
    parse_template,
    stored_template,
)

LARGEST_MEGABYTES = 50
LARGEST = LARGEST_MEGABYTES * 1024 * 1024
TOO_LARGE = f"The document is larger than {LARGEST_MEGABYTES} MB."
MOST_ENDPOINTS = 5000
#: Entries of path items. References can make a small document say much, all of it in the report.
MOST_ENTRIES = 20_000
#: Nothing that people write is nested so deep, and readers slow down with the square of it.
DEEPEST = 100
#: Parameters of an operation, or of a path item, that are looked at.
MOST_PARAMETERS = 100
#: References that refer to references.
MOST_HOPS = 10

_VERSION = re.compile(r"3\.[01](\.[0-9A-Za-z.+-]*)?")
#: What makes a document large and is never looked at: it is thrown away while the document is read.
_DROPPED = frozenset(
    {"responses", "requestBody", "requestBodies", "content", "examples", "schemas", "definitions"}
    | {"properties", "callbacks", "securitySchemes"}
)
#: Amazon's mark of an operation that takes every method.
_ANY = "x-amazon-apigateway-any-method"
#: Marks of ours: an operation that stands in the place of one with ANY, and a parameter that takes the
#: rest of the path.
_OF_ANY, _WILDCARD = "x-ostiary-any", "x-ostiary-wildcard"
#: How others write the rest of a path at its end: Amazon, URI templates (RFC 6570), Azure.
_GREEDY = re.compile(r"\{(?:([A-Za-z_]\w*)[+*]|[+*]([A-Za-z_]\w*)|\*{2}([A-Za-z_]\w*))\}\Z")
#: What some documents put behind a path to tell operations with the same path apart.
_VARIANT = re.compile(r"[?#].*", re.DOTALL)
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
    #: Why there is none, if there is none: a sentence without a subject.
    server_problem: str
    operations: tuple[Operation, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[Noted, ...] = ()


def read(content: str, form: str) -> Document:
    """Read a document; `form` is `json` or `yaml`. Raises BadDocument."""
    if len(content.encode(errors="replace")) > LARGEST:
        raise BadDocument(TOO_LARGE)
    tree = _tree(content.removeprefix("\ufeff"), form)
    _check_version(tree)
    info = _mapping(tree.get("info"))
    found = tuple(_entries(tree))
    server_url, server_problem = _swagger_server(tree) if "swagger" in tree else _server(tree)
    return Document(
        title=_line(info.get("title"), 255),
        version=_line(info.get("version"), 32),
        description=_text(info.get("description"), 4000),
        server_url=server_url,
        server_problem=server_problem,
        operations=tuple(entry for entry in found if isinstance(entry, Operation)),
        skipped=tuple(entry for entry in found if isinstance(entry, Skipped)),
        notes=tuple(entry for entry in found if isinstance(entry, Noted)),
    )


def _check_version(tree: Mapping[str, object]) -> None:
    if "swagger" in tree:
        if tree["swagger"] != "2.0" or "openapi" in tree:
            raise BadDocument("The document says swagger, and not swagger: 2.0 alone.")
    elif "swaggerVersion" in tree:
        raise BadDocument("The document is Swagger 1; convert it to OpenAPI 3 first.")
    else:
        version = tree.get("openapi")
        if not isinstance(version, str) or not _VERSION.fullmatch(version):
            raise BadDocument("The document does not say openapi: 3.0 or 3.1, or swagger: 2.0.")
    if tree.get("paths") not in (None, "") and not isinstance(tree.get("paths"), dict):
        raise BadDocument("The document's paths must be an object.")


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
        raise BadDocument("The document must be an object.")
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
            raise BadDocument("The document has a key that isn't a text.")
        if key in made:
            raise BadDocument(f"The document has {_line(key, 80)!r} twice in one object.")
        made[key] = None if key in _DROPPED and isinstance(value, dict | list) else value
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


def _server(tree: Mapping[str, object]) -> tuple[str | None, str]:
    """The first server that calls can go to, or why there is none."""
    servers, problem = tree.get("servers"), ""
    for server in servers if isinstance(servers, list) else ():
        url = _with_defaults(_mapping(server))
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
        return f"has a server URL that does not read: {_line(url, 100)!r}"
    if "{" in url:
        return f"has a server URL with a variable that has no default: {_line(url, 100)!r}"
    if not parts.netloc or not parts.scheme:
        return f"has a server URL without a scheme and host: {_line(url, 100)!r}"
    if parts.scheme not in {"http", "https"}:
        return f"has a server URL that is not http or https: {_line(url, 100)!r}"
    return ""


def _swagger_server(tree: Mapping[str, object]) -> tuple[str | None, str]:
    """The server of a Swagger 2.0 document; https, if it may be chosen."""
    host, base = _line(tree.get("host"), 300), _line(tree.get("basePath"), 1000)
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
    for name, variable in _mapping(server.get("variables")).items():
        default = _mapping(variable).get("default")
        if isinstance(default, str) and len(default) <= 255:
            url = url.replace(f"{{{name}}}", default)
    return url if len(url) <= 2048 else ""


def _entries(tree: Mapping[str, object]) -> Iterator[Operation | Skipped | Noted]:
    """What each path item gives, in the document's order; variants of paths come after all others."""
    seen: dict[tuple[str, str], str] = {}
    budget = MOST_ENTRIES
    paths = _mapping(tree.get("paths"))
    for path, given in sorted(paths.items(), key=lambda each: _VARIANT.sub("", each[0]) != each[0]):
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
            yield from _item(tree, path, item, seen)


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
    tree: Mapping[str, object],
    path: str,
    item: Mapping[str, object],
    seen: dict[tuple[str, str], str],
) -> Iterator[Operation | Skipped | Noted]:
    if item.get("servers"):
        yield Noted(where=_line(path, 200), note="its own servers are not used")
    alone = _VARIANT.sub("", path)
    for key, operation in item.items():
        if key in _NO_OPERATION or (key.startswith("x-") and key != _ANY):
            continue
        if _ANY in item and _mapping(operation).get(_OF_ANY):
            continue
        method = ANY if key == _ANY else key.upper()
        where = _line(f"{method} {path}", 200)
        taken_path, note = _with_wildcard(alone, _parameters(tree, item, operation))
        read = _operation(taken_path, method, operation, anything=key == _ANY)
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
            if note:
                yield Noted(where=where, note=note)
            if alone != path:
                told = f"{_line(path[len(alone) :], 100)} can't be part of a path: {alone} is imported without it"
                yield Noted(where=where, note=told)
            if _mapping(operation).get("servers"):
                yield Noted(where=where, note="its own servers are not used")


def _parameters(
    tree: Mapping[str, object], item: Mapping[str, object], operation: object
) -> Iterator[Mapping[str, object]]:
    """The parameters of an operation and of its path item, with their references followed."""
    for given in (_mapping(operation).get("parameters"), item.get("parameters")):
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
        if parameter.get(_WILDCARD):
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
    several = [(each, stored_template(each.path)) for each in operations]
    for _, template in several:
        templates.setdefault(template.shape, template)
    for operation, own in several:
        template = templates[own.shape]
        path = _path(template, templates)
        key = _ANY if operation.method == ANY else operation.method.lower()
        paths.setdefault(path, {})[key] = _entry(operation, template, path)
    for item in paths.values():
        _spell_out(item)
    return paths


def _path(template: Template, templates: Mapping[str, Template]) -> str:
    """A template as a path of a document: there a parameter at the end may stand for the rest.

    Where there is a parameter alone in that place too, the wildcard keeps its own spelling.
    """
    if not template.has_wildcard:
        return template.text
    plain = template.text.removesuffix("...}") + "}"
    return template.text if stored_template(plain).shape in templates else plain


def _spell_out(item: dict[str, object]) -> None:
    """Name each method for readers who do not know the mark of any method."""
    entry = item.get(_ANY)
    if not isinstance(entry, dict):
        return
    named = allowed(key.upper() for key in item)
    for method in METHODS:
        if method not in named and method not in {"HEAD", "OPTIONS"}:
            item[method.lower()] = entry | {_OF_ANY: True}


def _entry(operation: Operation, template: Template, path: str) -> dict[str, object]:
    entry: dict[str, object] = {
        "summary": operation.name,
        "responses": {"default": {"description": "The answer of the API"}},
    }
    if operation.description:
        entry["description"] = operation.description
    if template.parameters:
        written = stored_template(path).tokens
        entry["parameters"] = [*map(_parameter, template.tokens, written)]
    return entry


def _parameter(token: str, written: str) -> dict[str, object]:
    """A parameter that is `token` here and `written` in the document's path."""
    about: dict[str, object] = {
        "name": written[1:-1],
        "in": "path",
        "required": True,
        "schema": {"type": "string"},
    }
    if is_wildcard(token):
        about |= {"description": "The rest of the path; it may hold slashes.", _WILDCARD: True}
    return about
