"""`/api/openapi.json`: the management API's own description, made once and served compressed.

What ninja writes is completed here: what a call can be answered with, the headers that it takes and
gives, what each field means, and an example. What handlers use says most of it, so that nobody has to
repeat it: one that looks at `if_match` takes `If-Match`.
"""

import functools
import gzip
import hashlib
import inspect
import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import responses as phrases
from typing import Any

from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse
from django.utils.http import parse_etags
from django.views.decorators.http import require_safe
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation

from ostiary.api import idempotency, meanings
from ostiary.api.application import api
from ostiary.api.error_codes import ERRORS, ErrorCode
from ostiary.api.examples import EXAMPLES
from ostiary.directory.workspace import public_urls

Json = dict[str, Any]

PREFIX = "/api/"
ERROR = "Error"
_REF = "#/components/schemas/"


class NameClash(Exception):
    """Two schemas or two operations have one name: one would describe what the other one is."""


HEADERS: Mapping[str, Json] = {
    "X-Request-Id": {
        "description": "The id of this call, as in the logs of Ostiary.",
        "schema": {"type": "string"},
    },
    "ETag": {
        "description": "The version of the object, for `If-Match`.",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Seconds after which to call again.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "RateLimit": {
        "description": 'What is left of each limit, and for how many seconds it counts: `"token";r=59;t=30`. '
        "Absent where there is no limit.",
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {
        "description": 'The limits that the call was counted on: `"token";q=60;w=60`.',
        "schema": {"type": "string"},
    },
    idempotency.REPLAYED: {
        "description": "`true`: this is the answer to an earlier call with the same `Idempotency-Key`.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "X-Total-Count": {
        "description": "How many rows fit in all.",
        "schema": {"type": "integer"},
    },
    "X-Next-Cursor": {
        "description": "Give it as `cursor` for the rows after these. Absent at the end.",
        "schema": {"type": "string"},
    },
    "Link": {
        "description": "Addresses of the `first`, `prev`, `next` and `last` page (RFC 8288).",
        "schema": {"type": "string"},
    },
    "WWW-Authenticate": {
        "description": "How to authenticate: with a management token as bearer token.",
        "schema": {"type": "string"},
    },
}
_IF_MATCH: Json = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "The `ETag` that the object had when you read it. If it was changed since, the call is refused (412).",
    "schema": {"type": "string"},
}
_IF_NONE_MATCH: Json = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "An `ETag` that you have. If the object is still the same, the answer is 304 without a body.",
    "schema": {"type": "string"},
}
_KEY: Json = {
    "name": idempotency.HEADER,
    "in": "header",
    "required": False,
    "description": "A text of your own for this call alone, such as a UUID. For 24 hours, the same call with the same key "
    "has no second effect and gets the same answer, with secrets masked.",
    "schema": {"type": "string", "pattern": f"^[ -~]{{1,{idempotency.LONGEST}}}$"},
}


class ServedDocument(OpenAPISchema):
    """The document. Raises NameClash."""

    def __init__(self, server: str) -> None:
        self._ids: set[str] = set()
        super().__init__(api, PREFIX)
        self["servers"] = [{"url": server, "description": "This workspace"}]
        self.schemas[ERROR] = _error()
        self["tags"] = [{"name": name, "description": text} for name, text in meanings.TAGS.items()]
        self["components"]["headers"] = dict(HEADERS)
        for name, schema in self.schemas.items():
            _describe(name, schema)
        _prune(self)

    def add_schema_definitions(self, definitions: Json) -> None:
        for name, schema in definitions.items():
            if self.schemas.setdefault(name, schema) != schema:
                raise NameClash(name)

    def operation_details(self, operation: Operation) -> Json:
        details: Json = super().operation_details(operation)
        view = inspect.unwrap(operation.view_func)
        name, facts = view.__name__, _Facts.of(operation, details)
        if name in self._ids:
            raise NameClash(name)
        self._ids.add(name)
        details["operationId"] = name
        details["summary"] = name.replace("_", " ").capitalize()
        details.setdefault("description", meanings.OPERATIONS.get(name, ""))
        parameters = details["parameters"]
        for each in parameters:
            each.setdefault("description", meanings.of_parameter(name, each["name"]))
        parameters += [_IF_MATCH] if facts.takes_if_match else []
        parameters += [_KEY] if facts.posts else []
        parameters += [_IF_NONE_MATCH] if facts.may_be_same else []
        for content in details.get("requestBody", {}).get("content", {}).values():
            content["schema"] = _without_null(content["schema"])
            _describe(name, content["schema"])
        details["responses"] = _answers(details["responses"], facts)
        _give_example(name, details)
        return details


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What decides how a call can be answered."""

    name: str
    posts: bool
    takes_if_match: bool
    gives_etag: bool
    may_be_same: bool
    has_body: bool
    names_objects: bool
    lists: bool

    @classmethod
    def of(cls, operation: Operation, details: Json) -> "_Facts":
        view = inspect.unwrap(operation.view_func)
        used = _names(view)
        body = "requestBody" in details
        given = details["parameters"]
        gives_etag = bool({"versioned", "tagged"} & used)
        return cls(
            name=view.__name__,
            posts="POST" in operation.methods,
            takes_if_match="if_match" in used,
            gives_etag=gives_etag,
            may_be_same="GET" in operation.methods and gives_etag,
            has_body=body,
            lists=bool({"bare", "paged", "paged_together"} & used),
            names_objects=body
            or any(each["in"] == "path" or each["name"].endswith("_id") for each in given),
        )

    def codes(self) -> Iterator[ErrorCode]:
        """The errors that the call can be answered with."""
        yield ErrorCode.UNAUTHORIZED
        if self.name not in meanings.OPEN:
            yield ErrorCode.FORBIDDEN
        # Parameters that no call knows are refused as well.
        yield ErrorCode.INVALID_INPUT
        if self.has_body:
            yield from (ErrorCode.MALFORMED_REQUEST, ErrorCode.TOO_LARGE)
        if self.names_objects:
            yield ErrorCode.NOT_FOUND
        if self.name in meanings.REFUSED_IN_USE:
            yield ErrorCode.IN_USE
        if self.name in meanings.REFUSED_NOT_EMPTY:
            yield ErrorCode.CANNOT_DESTROY
        if self.posts:
            yield ErrorCode.KEY_REUSED
        if self.takes_if_match:
            yield ErrorCode.STALE
        yield from (ErrorCode.TOO_MANY_CALLS, ErrorCode.SERVER_ERROR)
        yield from (ErrorCode.NOT_IN_FORCE, ErrorCode.DATABASE_UNAVAILABLE)


def _names(view: Any) -> set[str]:
    """The names that a handler uses, itself or by functions of its own module."""
    used: set[str] = set()
    seen, waiting = {view}, [view]
    while waiting:
        function = waiting.pop()
        for name in _of_code(function.__code__):
            used.add(name)
            other = inspect.unwrap(function.__globals__.get(name, view))
            if (
                inspect.isfunction(other)
                and other.__module__ == view.__module__
                and other not in seen
            ):
                seen.add(other)
                waiting.append(other)
    return used


def _of_code(code: Any) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if inspect.iscode(constant):
            yield from _of_code(constant)


def _answers(written: Mapping[Any, Json], facts: _Facts) -> Json:
    answers: Json = {}
    common = ["X-Request-Id", "RateLimit", "RateLimit-Policy"]
    for status, answer in written.items():
        if int(status) >= 400:
            continue
        own = ["ETag"] if facts.gives_etag else []
        own += [idempotency.REPLAYED] if facts.posts else []
        own += ["X-Total-Count", "X-Next-Cursor", "Link"] if facts.lists else []
        answers[str(status)] = {**answer, "headers": _headers(*common, *own)}
    if facts.may_be_same:
        same = "The object is the one that you have"
        answers["304"] = {"description": same, "headers": _headers(*common, "ETag")}
    by_status: dict[int, list[ErrorCode]] = {}
    for code in facts.codes():
        by_status.setdefault(ERRORS[code].status, []).append(code)
    for status in sorted(by_status):
        codes = by_status[status]
        shape: Json = {"$ref": f"{_REF}{ERROR}"}
        if _is_own(written.get(status)):
            shape = {"anyOf": [shape, written[status]["content"]["application/json"]["schema"]]}
        own = {401: ["WWW-Authenticate"], 429: ["Retry-After"], 503: ["Retry-After"]}.get(
            status, []
        )
        answers[str(status)] = {
            "description": f"{phrases[status]}: " + ", ".join(f"`{code}`" for code in codes),
            "headers": _headers(*common, *own),
            "content": {"application/json": {"schema": shape}},
        }
    return answers


def _without_null(schema: Json) -> Json:
    """A body that may be left out: to leave it out, nobody sends null."""
    kinds = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    return dict(kinds[0]) if len(kinds) == 1 else schema


def _is_own(answer: Json | None) -> bool:
    """Whether a call has a shape of its own for an error."""
    if answer is None:
        return False
    shape = answer["content"]["application/json"]["schema"].get("$ref", "")
    return shape.rpartition("/")[2] not in {"Message", "Invalid", "ServerError"}


def _headers(*names: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _error() -> Json:
    listed: Json = {
        "type": "object",
        "additionalProperties": {"type": "array", "items": {"type": "string"}},
    }
    return {
        "title": ERROR,
        "type": "object",
        "description": "An error, as every operation answers it.",
        "required": ["message", "code"],
        "properties": {
            "message": {"type": "string", "description": "A sentence for people."},
            "code": {
                "type": "string",
                "enum": [code.value for code in ErrorCode],
                "description": "What kind of error it is, for programs.",
            },
            "errors": {
                **listed,
                "description": "Sentences by field, where the input does not fit.",
            },
            "codes": {**listed, "description": "By field, one code for each sentence."},
            "id": {
                "type": "string",
                "description": "Where Ostiary failed: the id of the error in its log.",
            },
        },
    }


def _describe(name: str, schema: Json) -> None:
    """Complete what the fields of a schema say."""
    for field, details in schema.get("properties", {}).items():
        if len(details.get("allOf", ())) == 1:
            details.update(details.pop("allOf")[0])
        if details.get("default") == {}:
            # Left out means the same, and generators of clients read no objects here.
            del details["default"]
        if not details.get("description"):
            details["description"] = meanings.of_field(name, field)
        values = meanings.values_of(name, field)
        if values:
            _restrict(details, values)


def _restrict(details: Json, values: list[str]) -> None:
    """Say which texts a field can have, where its type does not."""
    for each in (details, *details.get("anyOf", ())):
        if each.get("type") == "string" and not {"enum", "const", "pattern"} & set(each):
            each["enum"] = values


def _give_example(name: str, details: Json) -> None:
    example = EXAMPLES.get(name)
    if example is None:
        return
    for each in details["parameters"]:
        if each["name"] in example.parameters:
            each["example"] = example.parameters[each["name"]]
    for content in details.get("requestBody", {}).get("content", {}).values():
        if example.body is not None:
            content["example"] = example.body


def _prune(document: Json) -> None:
    """Leave out schemas that nothing refers to."""
    schemas = document["components"]["schemas"]
    reached: set[str] = set()
    waiting = [json.dumps(document["paths"])]
    while waiting:
        for name in re.findall(re.escape(_REF) + r"([^\"]+)", waiting.pop()):
            if name not in reached:
                reached.add(name)
                waiting.append(json.dumps(schemas[name]))
    for name in set(schemas) - reached:
        del schemas[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Served:
    plain: bytes
    packed: bytes
    digest: str


_making = threading.Lock()


@functools.lru_cache(maxsize=2)
def _served(server: str) -> _Served:
    plain = json.dumps(ServedDocument(server), ensure_ascii=False).encode()
    digest = hashlib.sha256(plain).hexdigest()[:20]
    return _Served(plain=plain, packed=gzip.compress(plain, mtime=0), digest=digest)


def _server() -> str:
    try:
        return public_urls.console_url()
    except (DatabaseError, InterfaceError):
        # The document is there also while the database is not.
        return "/"


@require_safe
def show(request: HttpRequest) -> HttpResponse:
    """The document; gzip if the caller takes it, and 304 if it has this one."""
    with _making:
        served = _served(_server())
    packs = _takes_gzip(request.headers.get("Accept-Encoding", ""))
    etag = f'"{served.digest}-gzip"' if packs else f'"{served.digest}"'
    known = {
        each.removeprefix("W/") for each in parse_etags(request.headers.get("If-None-Match", ""))
    }
    if known & {etag, "*"}:
        response = HttpResponse(status=304)
    else:
        response = HttpResponse(
            served.packed if packs else served.plain, content_type="application/json; charset=utf-8"
        )
        if packs:
            response["Content-Encoding"] = "gzip"
    response["ETag"] = etag
    response["Vary"] = "Accept-Encoding"
    response["Cache-Control"] = "no-cache"
    return response


def _takes_gzip(accepted: str) -> bool:
    for each in accepted.lower().split(","):
        name, _, weight = each.partition(";")
        if name.strip() in {"gzip", "*"}:
            return not re.fullmatch(r"\s*q=0(\.0*)?\s*", weight)
    return False
