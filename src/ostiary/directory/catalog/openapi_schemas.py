"""The schemas of a document, rebuilt as OpenAPI 3.1 has them.

Only what the standard names is kept, with the type that it must have, so that what is exported is
valid by construction. References stay within the document; nothing is ever fetched. Pure; knows no
table.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

from ostiary.directory.catalog.document_trees import (
    DEEPEST,
    TOO_DEEP,
    BadDocument,
    flag,
    line,
    listing,
    mapping,
    pointed,
    text,
    typed,
)

#: References that refer to references.
MOST_HOPS = 10
MOST_NOTES = 1000
#: Characters of a description, and of an example or default.
LONGEST_TEXT = 100_000
_LONGEST_PATTERN = 2000

_TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})
_TEXTS = frozenset({"title", "description", "format", "contentMediaType", "contentEncoding"})
_LIMITS = frozenset({"maximum", "minimum"})
_COUNTS = frozenset(
    {"maxLength", "minLength", "maxItems", "minItems", "maxProperties", "minProperties"}
    | {"maxContains", "minContains"}
)
_SWITCHES = frozenset({"uniqueItems", "deprecated", "readOnly", "writeOnly"})
_INNER = frozenset(
    {"not", "if", "then", "else", "contains", "propertyNames", "items"}
    | {"additionalProperties", "unevaluatedItems", "unevaluatedProperties"}
)
#: Where `true` and `false` are usual; elsewhere many readers know objects alone.
_INNER_OR_SWITCH = frozenset({"additionalProperties", "unevaluatedItems", "unevaluatedProperties"})
_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAPS = frozenset({"properties", "patternProperties", "dependentSchemas"})
_VALUES = frozenset({"default", "const", "example"})
#: Extensions that generators of clients read.
_EXTENSIONS = frozenset({"x-enum-varnames", "x-enumNames", "x-enum-descriptions"})
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")
_REFERENCE = "#/components/schemas/"


class TooMuch(Exception):
    """A document says more than is kept of one."""


@dataclass(slots=True, kw_only=True)
class Reading:
    """A document while it is rebuilt: what of it is still allowed, and what was left out."""

    root: Mapping[str, object]
    #: `2.0`, `3.0` or `3.1`.
    dialect: str
    #: Values and characters that may still be kept.
    values: int
    characters: int
    #: The operation or schema at hand.
    where: str = ""
    notes: dict[tuple[str, str], None] = field(default_factory=dict)

    def note(self, sentence: str) -> None:
        if len(self.notes) < MOST_NOTES:
            self.notes[self.where, sentence] = None

    def spend(self, characters: int = 0) -> None:
        """Count a value; raises TooMuch. Aliases and references make much of little."""
        self.values -= 1
        self.characters -= characters + 4
        if self.values < 0 or self.characters < 0:
            raise TooMuch

    def text(self, value: object, longest: int = LONGEST_TEXT) -> str:
        said = text(value, longest)
        self.spend(len(said))
        return said

    def line(self, value: object, longest: int = 1000) -> str:
        said = line(value, longest)
        self.spend(len(said))
        return said

    def value(self, given: object, depth: int = 0) -> object:
        """Any value: an example, a default."""
        if depth > DEEPEST:
            raise BadDocument(TOO_DEEP)
        if isinstance(given, dict):
            self.spend(sum(map(len, given)))
            return {_clean(k): self.value(v, depth + 1) for k, v in given.items()}
        if isinstance(given, list):
            self.spend()
            return [self.value(each, depth + 1) for each in given]
        value = typed(given)
        self.spend(len(value) if isinstance(value, str) else 8)
        return _clean(value) if isinstance(value, str) else value

    def followed(self, given: object) -> Mapping[str, object]:
        """An object with references to it followed, empty if that is not possible."""
        for _ in range(MOST_HOPS):
            found = mapping(given)
            reference = found.get("$ref")
            if reference is None:
                return found
            if not isinstance(reference, str) or not reference.startswith("#/"):
                self.note(f"{line(reference, 100)!r} is outside of the document, and left out")
                return {}
            given = pointed(self.root, reference)
            if given is None:
                self.note(f"{line(reference, 100)!r} is not in the document, and left out")
                return {}
        self.note("it refers to itself, and is left out")
        return {}


def _clean(value: str) -> str:
    """A text that can be written as UTF-8."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def _whole(value: object) -> int | None:
    value = typed(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: object) -> float | None:
    value = typed(value)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def usable_pattern(pattern: str) -> bool:
    """Whether every reader of the document can be expected to take a regular expression."""
    if len(pattern) > _LONGEST_PATTERN:
        return False
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


class Schemas:
    """Schemas that operations use, by name. Those that nobody uses are never looked at."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        root = reading.root
        at = ("definitions",) if reading.dialect == "2.0" else ("components", "schemas")
        self._place = f"#/{'/'.join(at)}/"
        known: object = root
        for part in at:
            known = mapping(known).get(part)
        self._known = mapping(known)
        #: Names by pointers.
        self._names: dict[str, str] = {}
        self._used: set[str] = set()
        self._reserved = {_NOT_IN_NAMES.sub("_", name) for name in self._known}
        self._waiting: list[tuple[str, object]] = []
        self._kinds: dict[str, list[str]] | None = None
        #: Schemas of operations, each with the operation that has it.
        self._tops: list[tuple[str, object]] = []
        self.made: dict[str, object] = {}

    def top(self, node: object) -> object:
        """A schema that isn't within another one."""
        return self.added(self.schema(node))

    def added(self, schema: object) -> object:
        """A schema that was put together here; it is settled like the others."""
        self._tops.append((self._reading.where, schema))
        return schema

    def finish(self) -> Mapping[str, object]:
        """Rebuild what the schemas so far refer to, and what that refers to."""
        while self._waiting:
            name, node = self._waiting.pop()
            self._reading.where = f"{_REFERENCE}{name}"
            self.made[name] = self.schema(node)
        named = [(f"{_REFERENCE}{name}", made) for name, made in self.made.items()]
        for where, made in (*named, *self._tops):
            self._reading.where = where
            self._settle(made)
        return {name: self.made[name] for name in sorted(self.made)}

    def schema(self, node: object, depth: int = 0) -> object:
        """A schema of the document as one of ours."""
        if depth > DEEPEST:
            raise BadDocument(TOO_DEEP)
        node = typed(node)
        if isinstance(node, bool):
            return {} if node else {"not": {}}
        if not isinstance(node, dict):
            self._reading.note("a schema isn't an object: anything is allowed there")
            return {}
        self._reading.spend()
        made: dict[str, object] = {}
        reference = node.get("$ref")
        if reference is not None:
            found = self._referred(reference)
            if found is not None:
                made["$ref"] = found
            if self._reading.dialect != "3.1":
                return made
        for key, value in node.items():
            self._take(made, key, value, depth)
        self._ranges(made, node)
        self._type(made, node)
        return self._nullable(made, node)

    def _take(self, made: dict[str, object], key: str, value: object, depth: int) -> None:
        if key in _TEXTS:
            if isinstance(typed(value), str):
                made[key] = self._reading.text(value)
        elif key in _COUNTS:
            if (count := _whole(value)) is not None and count >= 0:
                made[key] = count
        elif key in _SWITCHES:
            if isinstance(typed(value), bool):
                made[key] = typed(value)
        elif key in _VALUES:
            made[key] = self._reading.value(value)
        elif key in _INNER:
            self._inner(made, key, value, depth)
        elif key in _LISTS:
            if several := [self.schema(each, depth + 1) for each in listing(value)]:
                made[key] = several
        elif key in _MAPS:
            self._map(made, key, value, depth)
        else:
            self._special(made, key, value)

    def _inner(self, made: dict[str, object], key: str, value: object, depth: int) -> None:
        if key in _INNER_OR_SWITCH and isinstance(typed(value), bool):
            made[key] = typed(value)
        elif key == "items" and isinstance(value, list):  # JSON Schema before 2020-12
            if several := [self.schema(each, depth + 1) for each in value]:
                made["prefixItems"] = several
        else:
            made[key] = self.schema(value, depth + 1)

    def _map(self, made: dict[str, object], key: str, value: object, depth: int) -> None:
        several: dict[str, object] = {}
        for name, inner in mapping(value).items():
            if key == "patternProperties" and not usable_pattern(name):
                self._reading.note(f"the pattern {line(name, 100)!r} is left out")
                continue
            self._reading.spend(len(name))
            several[_clean(name)] = self.schema(inner, depth + 1)
        made[key] = several

    def _special(self, made: dict[str, object], key: str, value: object) -> None:
        match key:
            case "pattern" if isinstance(value, str):
                if usable_pattern(value):
                    made[key] = _clean(value)
                    self._reading.spend(len(value))
                else:
                    self._reading.note(f"the pattern {line(value, 100)!r} is left out")
            case "multipleOf":
                if (number := _number(value)) is not None and number > 0:
                    made[key] = number
            case "enum" | "examples":
                if isinstance(value, list) and value:
                    made[key] = _distinct([self._reading.value(each) for each in value])
            case "required":
                names = [_clean(each) for each in listing(value) if isinstance(each, str)]
                self._reading.spend(sum(map(len, names)))
                if names:
                    made[key] = list(dict.fromkeys(names))
            case "discriminator":
                self._discriminator(made, value)
            case "xml":
                made |= _xml(value)
            case _ if key in _EXTENSIONS and isinstance(value, list):
                made[key] = self._reading.value(value)

    def _ranges(self, made: dict[str, object], node: Mapping[str, object]) -> None:
        """Bounds; before 3.1 an exclusive one was a flag beside the other (JSON Schema, draft 4)."""
        for inclusive, exclusive in (
            ("minimum", "exclusiveMinimum"),
            ("maximum", "exclusiveMaximum"),
        ):
            number, other = _number(node.get(inclusive)), _number(node.get(exclusive))
            if number is not None:
                made[exclusive if flag(node.get(exclusive)) else inclusive] = number
            if other is not None:
                made[exclusive] = other

    def _type(self, made: dict[str, object], node: Mapping[str, object]) -> None:
        given = node.get("type")
        if given is None:
            return
        # `null` without quotes is YAML's.
        named = ["null" if typed(t) is None else t for t in listing(given) or [given]]
        if "file" in named:
            made |= {"type": "string", "format": "binary"}
            return
        kinds = list(dict.fromkeys(str(t) for t in named if isinstance(t, str) and t in _TYPES))
        if len(kinds) < len(named):
            self._reading.note(f"{line(str(named[0])[:100], 40)!r} isn't a type: any is allowed")
            return
        made["type"] = kinds[0] if len(kinds) == 1 else kinds

    def _nullable(self, made: dict[str, object], node: Mapping[str, object]) -> object:
        if not (flag(node.get("nullable")) or flag(node.get("x-nullable"))):
            return made
        kind = made.get("type")
        if isinstance(kind, str) and kind != "null":
            made["type"] = [kind, "null"]
            choices = made.get("enum")
            if isinstance(choices, list) and None not in choices:
                made["enum"] = [*choices, None]
            return made
        if kind is None and {"allOf", "anyOf", "oneOf", "$ref"} & made.keys():
            outer = {k: made.pop(k) for k in ("title", "description", "default") if k in made}
            return outer | {"anyOf": [made, {"type": "null"}]}
        return made

    def _discriminator(self, made: dict[str, object], value: object) -> None:
        given = mapping(value)
        name = given.get("propertyName") if given else value
        if not isinstance(name, str):
            return
        chosen: dict[str, object] = {"propertyName": self._reading.line(name)}
        targets: dict[str, object] = {}
        for key, target in mapping(given.get("mapping")).items():
            if not isinstance(target, str):
                continue
            pointer = target if "/" in target or "#" in target else self._place + target
            if found := self._referred(pointer):
                targets[self._reading.line(key)] = found
        if targets:
            chosen["mapping"] = targets
        made["discriminator"] = chosen

    def _referred(self, reference: object) -> str | None:
        """A reference to a schema of ours in place of one of the document's."""
        seen: set[str] = set()
        while True:
            if not isinstance(reference, str) or not reference.startswith("#/"):
                said = line(reference, 100) if isinstance(reference, str) else "a reference"
                self._reading.note(f"{said!r} is outside of the document: anything is allowed")
                return None
            node = pointed(self._reading.root, reference)
            if node is None or reference in seen or len(seen) > MOST_HOPS:
                why = "refers to itself" if reference in seen else "is not in the document"
                self._reading.note(f"{line(reference, 100)!r} {why}: anything is allowed")
                return None
            seen.add(reference)
            further = mapping(node).get("$ref")
            if further is None or (self._reading.dialect == "3.1" and len(mapping(node)) > 1):
                break
            reference = further
        self._reading.spend(40)
        return _REFERENCE + self._name(reference, node)

    def _name(self, pointer: str, node: object) -> str:
        if (name := self._names.get(pointer)) is not None:
            return name
        plain = pointer.removeprefix(self._place)
        own = pointer.startswith(self._place) and plain in self._known
        wanted = _NOT_IN_NAMES.sub("_", plain if own else pointer.rpartition("/")[2])[:100]
        wanted = wanted.strip("_") or "Schema"
        name, number = wanted, 2
        while name in self._used or (not own and name in self._reserved):
            name, number = f"{wanted}_{number}", number + 1
        self._names[pointer] = name
        self._used.add(name)
        self._waiting.append((name, node))
        if mapping(node).get("discriminator"):
            for subtype in self._subtypes().get(pointer, ()):
                self._name(subtype, pointed(self._reading.root, subtype))
        return name

    def _subtypes(self) -> Mapping[str, list[str]]:
        """The schemas that extend one with a discriminator: nothing else may refer to them."""
        if self._kinds is None:
            self._kinds = {}
            for name, node in self._known.items():
                pointer = self._place + name
                for part in listing(mapping(node).get("allOf")):
                    base = mapping(part).get("$ref")
                    if isinstance(base, str) and pointed(self._reading.root, pointer) is node:
                        self._kinds.setdefault(base, []).append(pointer)
        return self._kinds

    def _settle(self, made: object) -> None:
        """Take out defaults that do not fit, and declare required properties that are nowhere."""
        for schema in _within(made):
            if "default" in schema and not self.fits(schema["default"], schema):
                del schema["default"]
                self._reading.note("a default that does not fit its schema is left out")
        if isinstance(made, dict) and "allOf" in made and "required" in made:
            missing = set(cast("list[str]", made["required"])) - self._properties(made, set())
            if missing:
                own = dict(cast("dict[str, object]", made.get("properties") or {}))
                made["properties"] = own | {name: {} for name in sorted(missing)}

    def _properties(self, schema: object, seen: set[str]) -> set[str]:
        found: set[str] = set()
        if not isinstance(schema, dict):
            return found
        found |= schema.get("properties", {}).keys()
        reference = schema.get("$ref", "")
        if reference and reference not in seen:
            seen.add(reference)
            found |= self._properties(self.made.get(reference.removeprefix(_REFERENCE)), seen)
        for key in ("allOf", "anyOf", "oneOf"):
            for inner in schema.get(key, ()):
                found |= self._properties(inner, seen)
        return found

    def fits(self, value: object, schema: object, depth: int = 0) -> bool:
        """Whether a value is surely allowed by a schema of ours."""
        if not isinstance(schema, dict) or depth > MOST_HOPS:
            return False
        if {"not", "if", "contains", "propertyNames", "dependentSchemas", "const"} & schema.keys():
            return False
        if {"patternProperties", "unevaluatedItems", "unevaluatedProperties"} & schema.keys():
            return False

        def within(inner: object) -> bool:
            return self.fits(value, inner, depth + 1)

        if "$ref" in schema and not within(self.made.get(schema["$ref"].removeprefix(_REFERENCE))):
            return False
        return (
            _of_type(value, schema.get("type"))
            and ("enum" not in schema or any(_same(value, each) for each in schema["enum"]))
            and all(map(within, schema.get("allOf", ())))
            and ("anyOf" not in schema or any(map(within, schema["anyOf"])))
            and ("oneOf" not in schema or sum(map(within, schema["oneOf"])) == 1)
            and _in_range(value, schema)
            and self._parts_fit(value, schema, depth)
        )

    def _parts_fit(self, value: object, schema: Mapping[str, object], depth: int) -> bool:
        if isinstance(value, list):
            if schema.get("uniqueItems") or "prefixItems" in schema:
                return not value
            return all(self.fits(each, schema.get("items", {}), depth + 1) for each in value)
        if isinstance(value, dict):
            known = mapping(schema.get("properties"))
            others = schema.get("additionalProperties", True)
            if not all(name in value for name in listing(schema.get("required"))):
                return False
            return all(
                self.fits(each, known[name], depth + 1)
                if name in known
                else others is True or self.fits(each, others, depth + 1)
                for name, each in value.items()
            )
        return True


def _within(schema: object) -> Iterator[dict[str, object]]:
    """A schema and all that are written within it."""
    waiting = [schema]
    while waiting:
        each = waiting.pop()
        if not isinstance(each, dict):
            continue
        yield each
        waiting += [each[key] for key in _INNER if key in each]
        for key in _LISTS:
            waiting += each.get(key, ())
        for key in _MAPS:
            waiting += each.get(key, {}).values()


def _distinct(values: list[object]) -> list[object]:
    kept: list[object] = []
    seen: set[str] = set()
    for value in values:
        mark = f"{type(value).__name__} {value!r}"
        if mark not in seen:
            seen.add(mark)
            kept.append(value)
    return kept


def _same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


_OF_TYPE: Mapping[str, Callable[[object], bool]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "integer": lambda value: _whole(value) is not None,
    "number": lambda value: _number(value) is not None,
}


def _of_type(value: object, kind: object) -> bool:
    if kind is None:
        return True
    kinds: list[str] = kind if isinstance(kind, list) else [str(kind)]
    return any(_OF_TYPE[each](value) for each in kinds)


#: Formats of texts that readers do not check.
_LOOSE = frozenset({"", "password", "binary", "byte", "string", "enum", "decimal"})
_DAY = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])")


def _in_range(value: object, schema: Mapping[str, object]) -> bool:
    def bound(key: str) -> float | None:
        return _number(schema.get(key))

    if isinstance(value, str):
        form = schema.get("format", "")
        if form == "date":
            return _DAY.fullmatch(value) is not None
        pattern = schema.get("pattern")
        return (
            form in _LOOSE
            and (pattern is None or (len(value) < 200 and pattern in {"", ".*"}))
            and len(value) >= (bound("minLength") or 0)
            and ((most := bound("maxLength")) is None or len(value) <= most)
        )
    size = len(value) if isinstance(value, list | dict) else value
    if isinstance(size, bool) or not isinstance(size, int | float):
        return True
    lower, upper = (
        ("minItems", "maxItems")
        if isinstance(value, list)
        else ("minProperties", "maxProperties")
        if isinstance(value, dict)
        else ("minimum", "maximum")
    )
    least, most = bound(lower), bound(upper)
    above, below = bound("exclusiveMinimum"), bound("exclusiveMaximum")
    return (
        (least is None or size >= least)
        and (most is None or size <= most)
        and (above is None or isinstance(value, list | dict) or size > above)
        and (below is None or isinstance(value, list | dict) or size < below)
        and ("multipleOf" not in schema or isinstance(value, list | dict))
    )


def _xml(value: object) -> dict[str, object]:
    given = mapping(value)
    made: dict[str, object] = {
        key: line(given[key], 255)
        for key in ("name", "prefix")
        if isinstance(given.get(key), str) and given[key]
    }
    made |= {key: flag(given[key]) for key in ("attribute", "wrapped") if key in given}
    return {"xml": made} if made else {}
