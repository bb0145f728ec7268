"""A collection as an OpenAPI 3.1 document for its consumers.

What was imported is given back; the gateway's URL and the reader's way to authenticate take the place
of the document's. Pure; knows no table.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from ostiary.access.methods import AuthMethod
from ostiary.access.paths import ANY, METHODS, Template, allowed, is_wildcard, stored_template
from ostiary.directory.catalog.document_trees import mapping
from ostiary.directory.catalog.openapi import (
    ANY_METHOD,
    OF_ANY,
    WILDCARD,
    Operation,
    described,
    named,
)
from ostiary.directory.catalog.openapi_operations import ANSWER, Specification, key

REFERENCE = "#/components/schemas/"


def write(
    *,
    title: str,
    version: str,
    description: str,
    url: str,
    operations: Iterable[Operation],
    specification: Specification | None = None,
    method: AuthMethod = AuthMethod.TOKEN,
    token_url: str = "",
    leave_authorization: bool = False,
) -> dict[str, object]:
    """A collection as a document.

    `method` is how the reader's profile proves itself; for OAuth 2.0 `token_url` is where it gets
    its access tokens. With `leave_authorization`, Authorization is the upstream's.
    """
    token = {"type": "apiKey", "in": "header", "name": "API-TOKEN"}
    schemes = {"apiToken": token} if leave_authorization else _schemes(method, token_url)
    known = specification or Specification()
    paths = _Paths(known).write(operations)
    schemas = {name: known.schemas[name] for name in sorted(reached(paths, known.schemas))}
    made: dict[str, object] = {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": description},
        "servers": [{"url": url}],
        "security": [{name: []} for name in schemes],
        "paths": paths,
        "components": {"securitySchemes": schemes} | ({"schemas": schemas} if schemas else {}),
    }
    used = {tag for item in paths.values() for entry in item.values() for tag in _tags(entry)}
    if tags := [tag for tag in known.tags if tag["name"] in used]:
        made["tags"] = tags
    return made


def references(value: object) -> Iterator[str]:
    """The names of schemas that a value refers to, each as often as it does."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            if each.startswith(REFERENCE):
                yield each.removeprefix(REFERENCE)
        elif isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each


def reached(value: object, schemas: Mapping[str, object]) -> set[str]:
    """The schemas that a value needs, also those that it needs through others.

    One with a discriminator needs those that extend it, although it does not name them.
    """
    families = _families(schemas)
    found: set[str] = set()
    waiting = [name for name in references(value) if name in schemas]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [other for other in references(schemas[name]) if other in schemas]
            waiting += families.get(name, ())
    return found


def _families(schemas: Mapping[str, object]) -> Mapping[str, Sequence[str]]:
    """The schemas that extend one with a discriminator, by its name."""
    families: dict[str, list[str]] = {}
    for name, schema in schemas.items():
        parts = mapping(schema).get("allOf")
        for part in parts if isinstance(parts, list) else ():
            base = str(mapping(part).get("$ref", "")).removeprefix(REFERENCE)
            if "discriminator" in mapping(schemas.get(base)):
                families.setdefault(base, []).append(name)
    return families


def _tags(entry: object) -> Sequence[object]:
    tags = mapping(entry).get("tags")
    return tags if isinstance(tags, list) else ()


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


@dataclass(frozen=True, slots=True)
class _Paths:
    """Path items. Paths that differ in parameters' names alone are one (section 4.8.8)."""

    specification: Specification

    def write(self, operations: Iterable[Operation]) -> dict[str, dict[str, object]]:
        paths: dict[str, dict[str, object]] = {}
        templates: dict[str, Template] = {}
        several = [(each, stored_template(each.path)) for each in operations]
        for _, template in several:
            templates.setdefault(template.shape, template)
        ids: set[str] = set()
        for operation, own in several:
            template = templates[own.shape]
            path = _path(template, templates)
            entry = self._entry(operation, own, template, path)
            if (identifier := str(entry.get("operationId", ""))) in ids:
                del entry["operationId"]
            elif identifier:
                ids.add(identifier)
            name = ANY_METHOD if operation.method == ANY else operation.method.lower()
            paths.setdefault(path, {})[name] = entry
        for item in paths.values():
            _spell_out(item, ids)
        return paths

    def _entry(
        self, operation: Operation, own: Template, template: Template, path: str
    ) -> dict[str, object]:
        """An operation: as it was imported, in so far as nobody has changed it since."""
        known = self.specification.operations.get(key(operation.method, own.shape), {})
        entry = dict(known)
        if (named(known) or _unnamed(operation)) != operation.name or not known:
            entry = {"summary": operation.name} | entry | {"summary": operation.name}
        if described(known) != operation.description:
            entry.pop("description", None)
            if operation.description:
                entry["description"] = operation.description
        entry.setdefault("responses", {"default": {"description": ANSWER}})
        parameters = _parameters(known, own, template, path)
        entry.pop("parameters", None)
        if parameters:
            entry["parameters"] = parameters
        return entry


def _unnamed(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"[:255]


def _parameters(
    known: Mapping[str, object], own: Template, template: Template, path: str
) -> list[object]:
    """Those of the path as it is now, and then all others that were imported."""
    imported = known.get("parameters")
    several = imported if isinstance(imported, list) else []
    of_path = {each["name"]: each for each in several if each["in"] == "path"}
    written = stored_template(path).tokens
    made: list[object] = []
    for name, token, told in zip(own.parameters, template.tokens, written, strict=True):
        about: dict[str, object] = dict(
            of_path.get(name, {"in": "path", "required": True, "schema": {"type": "string"}})
        )
        about = {"name": told[1:-1]} | about | {"name": told[1:-1]}
        if is_wildcard(token):
            about = {"description": "The rest of the path; it may hold slashes."} | about
            about[WILDCARD] = True
        made.append(about)
    return [*made, *(each for each in several if each["in"] != "path")]


def _path(template: Template, templates: Mapping[str, Template]) -> str:
    """A template as a path of a document: there a parameter at the end may stand for the rest.

    Where there is a parameter alone in that place too, the wildcard keeps its own spelling.
    """
    if not template.has_wildcard:
        return template.text
    plain = template.text.removesuffix("...}") + "}"
    return template.text if stored_template(plain).shape in templates else plain


def _spell_out(item: dict[str, object], ids: set[str]) -> None:
    """Name each method for readers who do not know the mark of any method."""
    entry = item.get(ANY_METHOD)
    if not isinstance(entry, dict):
        return
    present = allowed(name.upper() for name in item)
    for method in METHODS:
        if method in present or method in {"HEAD", "OPTIONS"}:
            continue
        spelled = entry | {OF_ANY: True}
        if identifier := spelled.pop("operationId", ""):
            own = f"{identifier}_{method.lower()}"
            if own not in ids:
                ids.add(own)
                spelled["operationId"] = own
        item[method.lower()] = spelled
