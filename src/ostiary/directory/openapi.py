"""OpenAPI documents in and out: what can become an endpoint, and what a collection looks like.

Reads OpenAPI 3.0 and 3.1 in JSON or YAML. Pure; knows no table.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import yaml

from ostiary.access.paths import METHODS, BadTemplate, parse_template

LARGEST = 5 * 1024 * 1024
MOST_ENDPOINTS = 5000
#: An alias can make a small document huge; nothing that people write comes near these.
MOST_NODES = 500_000


class BadDocument(ValueError):
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
class Document:
    title: str
    version: str
    description: str
    #: The first absolute `servers` URL.
    server_url: str | None
    operations: tuple[Operation, ...]
    skipped: tuple[Skipped, ...]


class _Loader(yaml.SafeLoader):
    """YAML without dates and other surprises: `1.0` is a number, `2020-01-01` a text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read(content: str, form: str) -> Document:
    """Read a document; `form` is `json` or `yaml`. Raises BadDocument."""
    if len(content.encode(errors="replace")) > LARGEST:
        raise BadDocument("The document is larger than 5 MB.")
    tree = _tree(content, form)
    version = str(tree.get("openapi", ""))
    if "swagger" in tree:
        raise BadDocument("This is a Swagger 2.0 document; convert it to OpenAPI 3 first.")
    if not version.startswith(("3.0", "3.1")):
        raise BadDocument("The document does not say openapi: 3.0 or 3.1.")
    paths = tree.get("paths", {})
    if not isinstance(paths, dict):
        raise BadDocument("The document's paths are no object.")
    info = tree.get("info") if isinstance(tree.get("info"), dict) else {}
    operations, skipped = _operations(paths)
    assert isinstance(info, dict)  # noqa: S101 - for the type checker
    return Document(
        title=str(info.get("title", ""))[:255],
        version=str(info.get("version", ""))[:32],
        description=str(info.get("description", "")),
        server_url=_server(tree.get("servers")),
        operations=operations,
        skipped=skipped,
    )


def _tree(content: str, form: str) -> dict[str, object]:
    try:
        if form == "json":
            tree = json.loads(content)
        else:
            _bound(content)
            tree = yaml.load(content, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (ValueError, yaml.YAMLError, RecursionError):
        raise BadDocument(f"The document is not valid {form.upper()}.") from None
    if not isinstance(tree, dict):
        raise BadDocument("The document is no object.")
    return tree


def _bound(content: str) -> None:
    """Refuse aliases altogether: OpenAPI has `$ref`, and aliases can explode."""
    for count, token in enumerate(yaml.scan(content, Loader=yaml.SafeLoader)):
        if isinstance(token, yaml.AliasToken):
            raise BadDocument("The document uses YAML aliases; write it without them.")
        if count > MOST_NODES:
            raise BadDocument("The document has too many parts.")


def _server(servers: object) -> str | None:
    for server in servers if isinstance(servers, list) else ():
        url = server.get("url") if isinstance(server, dict) else None
        if isinstance(url, str) and urlsplit(url).scheme in {"http", "https"} and "{" not in url:
            return url
    return None


def _operations(
    paths: Mapping[object, object],
) -> tuple[tuple[Operation, ...], tuple[Skipped, ...]]:
    operations: list[Operation] = []
    skipped: list[Skipped] = []
    seen: set[tuple[str, str]] = set()
    for path, item in paths.items():
        if not isinstance(item, dict):
            skipped.append(Skipped(where=str(path)[:200], reason="is no object"))
            continue
        if "$ref" in item:
            skipped.append(Skipped(where=str(path)[:200], reason="refers to another document part"))
        for key, operation in item.items():
            method = str(key).upper()
            where = f"{method} {path}"[:200]
            if method not in METHODS:
                if method == "TRACE":
                    skipped.append(Skipped(where=where, reason="TRACE is not passed on"))
                continue
            reason = _problem(str(path), method, operation, seen)
            if reason is None and len(operations) >= MOST_ENDPOINTS:
                reason = f"more than {MOST_ENDPOINTS} endpoints"
            if reason is not None:
                skipped.append(Skipped(where=where, reason=reason))
                continue
            assert isinstance(operation, dict)  # noqa: S101 - for the type checker
            operations.append(_operation(str(path), method, operation))
    return tuple(operations), tuple(skipped)


def _problem(path: str, method: str, operation: object, seen: set[tuple[str, str]]) -> str | None:
    if not isinstance(operation, dict):
        return "is no object"
    try:
        template = parse_template(path)
    except BadTemplate as error:
        return f"the path {error}"
    if (method, template.shape) in seen:
        return "another operation has the same method and path"
    seen.add((method, template.shape))
    return None


def _operation(path: str, method: str, operation: Mapping[str, object]) -> Operation:
    name = operation.get("summary") or operation.get("operationId") or f"{method} {path}"
    return Operation(
        name=" ".join(str(name).split())[:255],
        method=method,
        path=parse_template(path).text,
        description=str(operation.get("description", ""))[:4000],
    )


def write(
    *, title: str, version: str, description: str, url: str, operations: Iterable[Operation]
) -> dict[str, object]:
    """A collection as an OpenAPI 3.1 document for its consumers, with the token's two forms."""
    paths: dict[str, dict[str, object]] = {}
    for operation in operations:
        parameters = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in parse_template(operation.path).parameters
        ]
        entry: dict[str, object] = {
            "summary": operation.name,
            "responses": {"default": {"description": "The answer of the API"}},
        }
        if operation.description:
            entry["description"] = operation.description
        if parameters:
            entry["parameters"] = parameters
        paths.setdefault(operation.path, {})[operation.method.lower()] = entry
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": description},
        "servers": [{"url": url}],
        "security": [{"apiToken": []}, {"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "apiToken": {"type": "apiKey", "in": "header", "name": "API-TOKEN"},
                "bearer": {"type": "http", "scheme": "bearer"},
            }
        },
    }
