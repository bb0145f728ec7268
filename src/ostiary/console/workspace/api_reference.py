"""The reference of the management API, as a page: written from the API's own document."""

import functools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from ostiary.api import document
from ostiary.api.error_codes import ERRORS
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A parameter or a field of a body or an answer."""

    name: str
    kind: str
    required: bool
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One operation."""

    id: str
    tag: str
    method: str
    path: str
    meaning: str
    parameters: tuple[Field, ...]
    body: tuple[Field, ...]
    example: str
    answer: tuple[Field, ...]
    errors: tuple[str, ...]


@page
@require_safe
def show(request: HttpRequest, by: Actor) -> HttpResponse:
    """Every call, by what it is about."""
    context = {"calls": _calls(), "errors": [(str(code), each) for code, each in ERRORS.items()]}
    return render(request, "console/api_reference.html", context)


@functools.lru_cache(maxsize=1)
def _calls() -> tuple[Call, ...]:
    # What the page shows is the same wherever the API is.
    described = json.loads(json.dumps(document.ServedDocument("/")))
    schemas = described["components"]["schemas"]
    found = [
        _call(method.upper(), path, operation, schemas)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]
    tags = [tag["name"] for tag in described["tags"]]
    return tuple(sorted(found, key=lambda call: tags.index(call.tag)))


def _call(method: str, path: str, operation: Any, schemas: Any) -> Call:
    content = _content(operation.get("requestBody", {}))
    responses = operation["responses"]
    return Call(
        id=operation["operationId"],
        tag=operation["tags"][0],
        method=method,
        path=path,
        meaning=operation["description"],
        parameters=tuple(
            Field(
                name=each["name"],
                kind=_kind(each["schema"]),
                required=each["required"],
                meaning=each["description"],
            )
            for each in operation["parameters"]
        ),
        body=tuple(_fields(content.get("schema", {}), schemas)),
        example=json.dumps(content["example"], indent=2) if "example" in content else "",
        answer=tuple(_fields(_content(responses["200"]).get("schema", {}), schemas)),
        errors=tuple(
            code
            for status, answer in responses.items()
            if int(status) >= 400
            for code in re.findall("`([a-z_]+)`", answer["description"])
        ),
    )


def _content(part: Any) -> Any:
    return next(iter(part.get("content", {}).values()), {})


def _fields(schema: Any, schemas: Any) -> Iterator[Field]:
    """The fields of a shape; of a list, those of an entry."""
    whole = _resolved(schema.get("items", schema), schemas)
    required = set(whole.get("required", ()))
    for name, each in whole.get("properties", {}).items():
        if name in {"result", "data"}:
            yield from _fields(each, schemas)
        else:
            yield Field(
                name=name, kind=_kind(each), required=name in required, meaning=each["description"]
            )


def _resolved(schema: Any, schemas: Any) -> Any:
    name = schema.get("$ref", "").rpartition("/")[2]
    return schemas[name] if name else schema


def _kind(schema: Any) -> str:
    if "$ref" in schema:
        return "object"
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    kinds = schema.get("anyOf") or schema.get("oneOf")
    if kinds:
        return " or ".join(dict.fromkeys(_kind(each) for each in kinds))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return {"date-time": "time", "binary": "file"}.get(
        schema.get("format", ""), str(schema.get("type") or schema.get("const") or "anything")
    )
