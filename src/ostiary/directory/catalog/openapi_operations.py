"""What a document says of its operations: parameters, bodies, responses, tags.

Rebuilt as OpenAPI 3.1 has it, out of 3.0, 3.1 and Swagger 2.0. Security, servers, callbacks, links
and extensions are left out: they are about the API behind the gateway, not about the gateway. Pure;
knows no table.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ostiary.directory.catalog.document_trees import flag, listing, mapping, typed
from ostiary.directory.catalog.openapi_schemas import Reading, Schemas, TooMuch

#: Characters of what is kept of one document, as JSON without blanks; about 50 MB of memory.
MOST_CHARACTERS = 32 * 1024 * 1024
MOST_VALUES = 2_000_000
#: Parameters of an operation, or of a path item, that are looked at.
MOST_PARAMETERS = 100
_MOST_TAGS = 50
#: Responses of an operation, media types of a body, examples of a media type, headers of a response.
_MOST_EACH = 100
ANSWER = "The answer of the API"

_STATUS = re.compile(r"default|[1-5](?:[0-9]{2}|XX)")
_STYLES: Mapping[str, frozenset[str]] = {
    "path": frozenset({"matrix", "label", "simple"}),
    "query": frozenset({"form", "spaceDelimited", "pipeDelimited", "deepObject"}),
    "header": frozenset({"simple"}),
    "cookie": frozenset({"form"}),
}
#: Headers that a document must not describe (3.1, section 4.8.12.2), or that carry our credential.
_NO_PARAMETER = frozenset({"accept", "content-type", "authorization", "api-token"})
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
#: How Swagger joined the values of a list, as OpenAPI 3 says it.
_JOINED: Mapping[str, Mapping[str, object]] = {
    "multi": {"style": "form", "explode": True},
    "ssv": {"style": "spaceDelimited", "explode": False},
    "pipes": {"style": "pipeDelimited", "explode": False},
}
#: What of a Swagger parameter or header is not its schema.
_NO_SCHEMA = frozenset(
    {"name", "in", "description", "required", "collectionFormat", "allowEmptyValue", "$ref"}
)

Object = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Specification:
    """What is kept of a document besides its endpoints, as OpenAPI 3.1 has it."""

    #: Names and descriptions.
    tags: Sequence[Mapping[str, object]] = ()
    schemas: Mapping[str, object] = field(default_factory=dict)
    #: Operation objects, by method and shape of the path.
    operations: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


def key(method: str, shape: str) -> str:
    """What tells the operations of a document, and the endpoints of a collection, apart."""
    return f"{method} {shape}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An operation as the document has it."""

    key: str
    #: The operation as people know it, for notes.
    where: str
    item: Mapping[str, object]
    operation: Mapping[str, object]
    #: Names of the path's parameters.
    names: Sequence[str]


def read(reading: Reading, sources: Iterable[Source]) -> Specification | None:
    """What is kept of these operations; nothing if that is too much, and a note says so then."""
    reader = _Reader(reading)
    try:
        operations = {each.key: reader.operation(each) for each in sources}
        schemas = reader.schemas.finish()
        reading.where = "tags"
        tags = [*reader.described_tags()]
    except TooMuch:
        reading.where = "The document"
        reading.note(
            "its parameters, bodies, responses and schemas are not kept: with all that it refers to,"
            " they are larger than what is kept of a document of its size"
        )
        return None
    return Specification(tags=tags, schemas=schemas, operations=operations)


class _Reader:
    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._swagger = reading.dialect == "2.0"
        self.schemas = Schemas(reading)
        self._ids: set[str] = set()
        self._tags: set[str] = set()

    def described_tags(self) -> Iterator[Object]:
        seen: set[str] = set()
        for each in listing(self._reading.root.get("tags")):
            name = self._reading.line(mapping(each).get("name"), 255)
            if name in self._tags and name not in seen:
                seen.add(name)
                said = self._reading.text(mapping(each).get("description"))
                about: Object = {"name": name}
                yield about | ({"description": said} if said else {})

    def operation(self, source: Source) -> Object:
        reading, given = self._reading, source.operation
        reading.where = source.where
        reading.spend()
        made: Object = {}
        names = [reading.line(tag, 255) for tag in listing(given.get("tags"))[:_MOST_TAGS]]
        if tags := [*dict.fromkeys(filter(None, names))]:
            made["tags"] = tags
            self._tags.update(tags)
        for name, said in (
            ("summary", reading.line(given.get("summary"))),
            ("description", reading.text(given.get("description"))),
        ):
            if said:
                made[name] = said
        if identifier := reading.line(given.get("operationId"), 255):
            if identifier in self._ids:
                reading.note(f"the operation id {identifier} is another operation's: left out")
            else:
                self._ids.add(identifier)
                made["operationId"] = identifier
        if flag(given.get("deprecated")):
            made["deprecated"] = True
        several = [*self._several(source)]
        if parameters := [*self._parameters(several, source.names)]:
            order = {name: number for number, name in enumerate(source.names)}
            made["parameters"] = sorted(
                parameters,
                key=lambda p: order[str(p["name"])] if p["in"] == "path" else len(order),
            )
        body = self._swagger_body(several, given) if self._swagger else self._body(given)
        if body:
            made["requestBody"] = body
        made["responses"] = self._responses(given)
        return made

    def _several(self, source: Source) -> Iterator[Mapping[str, object]]:
        """Parameters of an operation and its path item; its own come first, and win."""
        for given in (source.operation.get("parameters"), source.item.get("parameters")):
            if len(listing(given)) > MOST_PARAMETERS:
                self._reading.note(f"parameters above {MOST_PARAMETERS} are left out")
            for each in listing(given)[:MOST_PARAMETERS]:
                if found := self._reading.followed(each):
                    yield found

    def _parameters(
        self, several: Iterable[Mapping[str, object]], names: Sequence[str]
    ) -> Iterator[Object]:
        seen: set[tuple[str, str]] = set()
        for given in several:
            where = given.get("in")
            name = self._reading.line(given.get("name"), 255)
            if not isinstance(where, str) or where not in _STYLES or not name:
                if where not in {"body", "formData"}:
                    self._reading.note("a parameter without a name or a place is left out")
                continue
            if where == "path":
                name = name.strip("+*").removesuffix("...")
                if name not in names:
                    continue
            mark = (where, name.lower() if where == "header" else name)
            if mark in seen or (where == "header" and mark[1] in _NO_PARAMETER):
                continue
            seen.add(mark)
            yield self._parameter(given, where, name)

    def _parameter(self, given: Mapping[str, object], where: str, name: str) -> Object:
        made: Object = {"name": name, "in": where}
        if where == "path" or flag(given.get("required")):
            made["required"] = True
        if where == "query" and flag(given.get("allowEmptyValue")):
            made["allowEmptyValue"] = True
        if where == "query" and flag(given.get("allowReserved")):
            made["allowReserved"] = True
        return made | self._value_object(given, _STYLES[where], of_path=where == "path")

    def _value_object(
        self, given: Mapping[str, object], styles: frozenset[str], *, of_path: bool = False
    ) -> Object:
        """What parameters and headers have in common: a description, a schema, examples."""
        made: Object = {}
        if said := self._reading.text(given.get("description")):
            made["description"] = said
        if flag(given.get("deprecated")):
            made["deprecated"] = True
        if self._swagger:
            own = {k: v for k, v in given.items() if k not in _NO_SCHEMA}
            made["schema"] = self.schemas.top(own if own or not of_path else {"type": "string"})
            if mapping(made["schema"]).get("type") == "array":
                made |= self._joined(given, styles)
            return made
        style = given.get("style")
        if isinstance(style, str) and style in styles:
            made["style"] = style
        if isinstance(typed(given.get("explode")), bool):
            made["explode"] = flag(given.get("explode"))
        content = self._content(given.get("content"))
        if "schema" not in given and content:
            first = next(iter(content))
            return made | {"content": {first: content[first]}}
        # A parameter of a path that says nothing of itself is a text.
        empty: Object = {"type": "string"} if of_path else {}
        made["schema"] = self.schemas.top(given["schema"]) if "schema" in given else empty
        return made | self._examples(given)

    def _joined(self, given: Mapping[str, object], styles: frozenset[str]) -> Mapping[str, object]:
        form = given.get("collectionFormat", "csv")
        if form == "csv":
            return {"style": "form", "explode": False} if "form" in styles else {}
        joined = _JOINED.get(form) if isinstance(form, str) else None
        if joined is None or joined["style"] not in styles:
            self._reading.note("how a parameter joins its values is left out")
            return {}
        return joined

    def _content(self, given: object) -> Object:
        """Media types of a body, with their schemas."""
        made: Object = {}
        for name, media in [*mapping(given).items()][:_MOST_EACH]:
            kind = self._reading.line(name, 255)
            if "/" not in kind:
                self._reading.note(f"{kind!r} isn't a media type, and left out")
                continue
            about = self._reading.followed(media)
            each: Object = {}
            if "schema" in about:
                each["schema"] = self.schemas.top(about["schema"])
            each |= self._examples(about)
            if encoding := self._encoding(about.get("encoding")):
                each["encoding"] = encoding
            made[kind] = each
        return made

    def _encoding(self, given: object) -> Object:
        made: Object = {}
        for name, about in [*mapping(given).items()][:_MOST_EACH]:
            each: Object = {}
            found = mapping(about)
            if kind := self._reading.line(found.get("contentType"), 255):
                each["contentType"] = kind
            style = found.get("style")
            if isinstance(style, str) and style in _STYLES["query"]:
                each["style"] = style
            if isinstance(typed(found.get("explode")), bool):
                each["explode"] = flag(found.get("explode"))
            if each:
                made[self._reading.line(name, 255)] = each
        return made

    def _examples(self, given: Mapping[str, object]) -> Object:
        made: Object = {}
        for name, example in [*mapping(given.get("examples")).items()][:_MOST_EACH]:
            found = self._reading.followed(example)
            if "value" not in found:
                continue
            each: Object = {}
            for about in ("summary", "description"):
                if said := self._reading.text(found.get(about)):
                    each[about] = said
            made[self._reading.line(name, 255)] = each | {
                "value": self._reading.value(found["value"])
            }
        if made:
            return {"examples": made}
        return {"example": self._reading.value(given["example"])} if "example" in given else {}

    def _body(self, given: Mapping[str, object]) -> Object:
        if "requestBody" not in given:
            return {}
        found = self._reading.followed(given["requestBody"])
        content = self._content(found.get("content"))
        if not content:
            if found:
                self._reading.note("its body has no media type, and is left out")
            return {}
        return self._described(found, {"content": content})

    def _described(self, given: Mapping[str, object], made: Object) -> Object:
        if said := self._reading.text(given.get("description")):
            made["description"] = said
        if flag(given.get("required")):
            made["required"] = True
        return made

    def _swagger_body(
        self, several: Iterable[Mapping[str, object]], given: Mapping[str, object]
    ) -> Object:
        """The body of Swagger 2.0: one parameter, or the fields of a form."""
        consumed = self._media(given, "consumes")
        fields: dict[str, object] = {}
        required: list[str] = []
        files = False
        for each in several:
            if each.get("in") == "body":
                schema = self.schemas.top(each.get("schema", {}))
                kinds = consumed or ["application/json"]
                content: Object = {kind: {"schema": schema} for kind in kinds}
                return self._described(each, {"content": content})
            name = self._reading.line(each.get("name"), 255)
            if each.get("in") != "formData" or not name or name in fields:
                continue
            own = {k: v for k, v in each.items() if k not in _NO_SCHEMA - {"description"}}
            fields[name] = self.schemas.schema(own)
            files = files or each.get("type") == "file"
            if flag(each.get("required")):
                required.append(name)
        if not fields:
            return {}
        form: Object = {"type": "object", "properties": fields}
        if required:
            form["required"] = required
        self.schemas.added(form)
        kinds = [kind for kind in consumed if kind in _FORMS] or [_FORMS[files]]
        made: Object = {"content": {kind: {"schema": form} for kind in kinds}}
        return made | ({"required": True} if required else {})

    def _media(self, given: Mapping[str, object], name: str) -> list[str]:
        """The media types of an operation of Swagger 2.0, else of its document."""
        said = given[name] if name in given else self._reading.root.get(name)
        kinds = [self._reading.line(each, 255) for each in listing(said)[:_MOST_EACH]]
        return [*dict.fromkeys(kind for kind in kinds if "/" in kind)]

    def _responses(self, given: Mapping[str, object]) -> Object:
        made: Object = {}
        for status, response in [*mapping(given.get("responses")).items()][:_MOST_EACH]:
            if status.startswith("x-"):
                continue
            known = status if status == "default" else status.upper()
            if not _STATUS.fullmatch(known):
                self._reading.note(f"{self._reading.line(status, 40)!r} isn't a status: left out")
                continue
            made[known] = self._response(self._reading.followed(response), given)
        return made or {"default": {"description": ANSWER}}

    def _response(self, given: Mapping[str, object], operation: Mapping[str, object]) -> Object:
        made: Object = {"description": self._reading.text(given.get("description")) or ANSWER}
        headers: Object = {}
        for name, header in [*mapping(given.get("headers")).items()][:_MOST_EACH]:
            found = self._reading.followed(header)
            if name.lower() != "content-type" and found:
                about = self._value_object(found, _STYLES["header"])
                if flag(found.get("required")):
                    about["required"] = True
                headers[self._reading.line(name, 255)] = about
        if headers:
            made["headers"] = headers
        content = self._content(given.get("content"))
        if self._swagger:
            content = self._swagger_content(given, operation)
        if content:
            made["content"] = content
        return made

    def _swagger_content(
        self, given: Mapping[str, object], operation: Mapping[str, object]
    ) -> Object:
        """The bodies of a response of Swagger 2.0: one schema, and an example for each media type."""
        examples = {k: v for k, v in mapping(given.get("examples")).items() if "/" in k}
        about: Object = {}
        kinds = [self._reading.line(kind, 255) for kind in [*examples][:_MOST_EACH]]
        if "schema" in given:
            about = {"schema": self.schemas.top(given["schema"])}
            kinds = self._media(operation, "produces") or kinds or ["application/json"]
        return {
            kind: about
            | ({"example": self._reading.value(examples[kind])} if kind in examples else {})
            for kind in kinds
        }
