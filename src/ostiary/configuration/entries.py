"""Reading a configuration: one mapping, as the command sends it, into entries with their places.

What is wrong is said of its place in the mapping (`clients.3.profiles.0.expires_at`), all of it
together; the command knows which line of which file that is.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC

from pydantic_core import PydanticCustomError

from ostiary.access.paths import BadTemplate, parse_template
from ostiary.configuration.nouns.catalog import endpoint_key
from ostiary.configuration.nouns.clients import PROFILES
from ostiary.configuration.nouns.file_noun import AnyNoun, Fields
from ostiary.configuration.nouns.registry import BY_KIND, NOUNS, parts_of
from ostiary.configuration.nouns.workspace import PROPERTIES
from ostiary.directory.changes.errors import Invalid, Problem
from ostiary.directory.changes.inputs import AnyTime, Input

#: The version of the form of files.
FORMAT = 1
#: Entries of one configuration.
MOST_ENTRIES = 100_000
LONGEST_OVERLAP = 30 * 24 * 3600
_KEY = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_SET = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_ENVIRONMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
#: Fields of entries of every noun.
_OWN = frozenset({"key", "protect"})
_OF_PROFILES = frozenset({"rotate", "overlap_seconds"})
_TOP = frozenset({"format", "set", "project", "moved", *(n.section for n in NOUNS if not n.parent)})


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """What files say of one object."""

    noun: AnyNoun
    key: str
    #: Its place in the configuration.
    place: str
    #: The entry that it is a part of.
    parent: str | None
    #: What was sent, read by the noun's input; its fields are those of `fields`.
    given: Input
    #: The plain fields that were sent, in their normal form.
    fields: Fields
    #: Fields that name other objects, with their keys.
    references: Mapping[str, list[str]]
    #: References that are said to be none.
    without: frozenset[str]
    #: Fields with a secret, and where the command finds it.
    secrets: Mapping[str, str]
    protected: bool = False
    #: How often its credential was rotated, by the files.
    rotate: int = 0
    overlap_seconds: int = 0

    @property
    def name(self) -> tuple[str, str]:
        return self.noun.kind, self.key


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A key that was another one before."""

    kind: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """All that the files of one set say."""

    set: str
    project: str
    entries: tuple[FileEntry, ...]
    moved: tuple[Moved, ...] = ()


@dataclass(slots=True)
class _EntryReader:
    problems: list[Problem] = field(default_factory=list)

    def add(self, place: str, sentence: str, code: str = "invalid") -> None:
        self.problems.append(Problem(field=place, code=code, sentence=sentence))

    def mapping(self, place: str, value: object, known: Iterable[str]) -> Fields | None:
        """An object with names that are known; nothing if it is none."""
        if not isinstance(value, dict):
            self.add(place, "must be an object", "type")
            return None
        names = set(known)
        for name in value:
            if name not in names:
                self.add(f"{place}.{name}" if place else str(name), "isn't a field here", "unknown")
        return {str(name): each for name, each in value.items() if name in names}

    def text(self, place: str, value: object, form: re.Pattern[str], what: str) -> str:
        if not isinstance(value, str) or not form.fullmatch(value):
            self.add(place, f"must be {what}")
            return ""
        return value

    def several(self, place: str, value: object) -> list[object]:
        if not isinstance(value, list):
            self.add(place, "must be a list", "type")
            return []
        return value

    def number(self, place: str, value: object, most: int) -> int:
        if type(value) is not int or not 0 <= value <= most:
            self.add(place, f"must be a whole number from 0 to {most}", "out_of_range")
            return 0
        return value

    def flag(self, place: str, value: object) -> bool:
        if not isinstance(value, bool):
            self.add(place, "must be true or false", "type")
            return False
        return value

    def entries(
        self, noun: AnyNoun, place: str, value: object, parent: str | None
    ) -> Iterator[FileEntry]:
        for number, each in enumerate(self.several(place, value)):
            yield from self.entry(noun, f"{place}.{number}", each, parent)

    def entry(
        self, noun: AnyNoun, place: str, value: object, parent: str | None
    ) -> Iterator[FileEntry]:
        parts = parts_of(noun)
        named = {"method", "path"} if noun.kind == "endpoint" else {"key"}
        named = set() if noun.single else {*named, "protect"}
        known = {*noun.names, *noun.references, *noun.secrets, *named}
        known |= _OF_PROFILES if noun is PROFILES else set()
        known |= {part.section for part in parts}
        found = self.mapping(place, value, known)
        if found is None:
            return
        key = self.key(noun, place, found, parent)
        if not key:
            return
        inside = [(part, found.pop(part.section)) for part in parts if part.section in found]
        references, without = self.references(noun, place, found)
        secrets = self.secrets(noun, place, found)
        own = {name: found.pop(name) for name in (*_OWN, *_OF_PROFILES) if name in found}
        expiry = self.expiry(place, found)
        given = self.given(noun, place, found)
        if given is not None:
            yield FileEntry(
                noun=noun,
                key=key,
                place=place,
                parent=parent,
                given=given,
                fields=noun.settled(key, noun.normal(given) | expiry),
                references=references,
                without=without,
                secrets=secrets,
                protected=self.flag(f"{place}.protect", own.get("protect", False)),
                rotate=self.number(f"{place}.rotate", own.get("rotate", 0), 1_000_000),
                overlap_seconds=self.number(
                    f"{place}.overlap_seconds", own.get("overlap_seconds", 0), LONGEST_OVERLAP
                ),
            )
        for part, content in inside:
            where = f"{place}.{part.section}"
            if part.single:
                yield from self.entry(part, where, content, key)
            else:
                yield from self.entries(part, where, content, key)

    def expiry(self, place: str, found: Fields) -> Fields:
        """When a profile expires, which may be past: what is over may stand in a file as it is."""
        if found.get("expires_at") is None:
            return {}
        try:
            return {"expires_at": AnyTime().checked(found.pop("expires_at")).astimezone(UTC)}
        except (PydanticCustomError, OverflowError) as error:
            said = error.message() if isinstance(error, PydanticCustomError) else "is too far away"
            self.add(f"{place}.expires_at", said)
            return {}

    def key(self, noun: AnyNoun, place: str, found: Fields, parent: str | None) -> str:
        if noun.single:
            return parent or ""
        if noun is PROPERTIES:
            return self.text(f"{place}.key", found.get("key"), _PROPERTY, "the property's name")
        if noun.kind != "endpoint":
            form = _HANDLE if noun.kind == "collection" else _KEY
            return self.text(
                f"{place}.key", found.get("key"), form,
                "a key: small letters, digits, dots and hyphens, at most 64",
            )  # fmt: skip
        method, path = found.pop("method", None), found.pop("path", None)
        try:
            given = BY_KIND["endpoint"].input.of(method=method, path=path)
            template = parse_template(str(path))
        except Invalid as error:
            for each in error.problems:
                self.add(f"{place}.{each.field}", each.sentence, each.code)
            return ""
        except BadTemplate as error:
            self.add(f"{place}.path", str(error))
            return ""
        return endpoint_key(parent or "", str(getattr(given, "method")), template.text)  # noqa: B009

    def references(
        self, noun: AnyNoun, place: str, found: Fields
    ) -> tuple[Mapping[str, list[str]], frozenset[str]]:
        named: dict[str, list[str]] = {}
        without = set()
        for name, reference in noun.references.items():
            if name not in found:
                continue
            value = found.pop(name)
            if value is None and not reference.several:
                without.add(name)
                named[name] = []
                continue
            texts = self.several(f"{place}.{name}", value) if reference.several else [value]
            keys = [each for each in texts if isinstance(each, str)]
            if len(keys) != len(texts):
                self.add(f"{place}.{name}", "must name others by their keys", "type")
            named[name] = sorted(set(keys))
        return named, frozenset(without)

    def secrets(self, noun: AnyNoun, place: str, found: Fields) -> Mapping[str, str]:
        named: dict[str, str] = {}
        for name in noun.secrets:
            value = found.get(name)
            if name not in found or (isinstance(value, str) and noun.may_stand(name, found)):
                continue
            del found[name]
            if isinstance(value, dict) and len(value) == 1:
                ((source, where),) = value.items()
                if source == "env" and isinstance(where, str) and _ENVIRONMENT.fullmatch(where):
                    named[name] = f"env {where}"
                    continue
                if source == "file" and isinstance(where, str) and where:
                    named[name] = f"file {where}"
                    continue
            self.add(f"{place}.{name}", _SECRET, "secret")
        return named

    def given(self, noun: AnyNoun, place: str, found: Fields) -> Input | None:
        try:
            return noun.input.of(**{n: v for n, v in found.items() if n != "key"})
        except Invalid as error:
            aliases = {name: alias for alias, name in noun.names.items()}
            for each in error.problems:
                first, dot, rest = each.field.partition(".")
                where = f"{place}.{aliases.get(first, first)}{dot}{rest}"
                self.add(where, each.sentence, each.code)
            return None


_SECRET = "must not stand in a file: refer to it by {env: NAME} or {file: PATH}"  # noqa: S105 - a sentence
_PROPERTY = re.compile(r"[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]{0,98}[^\s\x00-\x1f\x7f])?")
_HANDLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def read(configuration: object) -> Configuration:
    """Read a configuration; raises Invalid with everything that does not fit, and where."""
    reader = _EntryReader()
    for place in _with_nul(configuration, ""):
        reader.add(place, "holds the character NUL", "characters")
    if reader.problems:
        raise Invalid(reader.problems)
    found = reader.mapping("", configuration, _TOP)
    if found is None:
        raise Invalid(reader.problems)
    if found.get("format") != FORMAT:
        reader.add("format", f"must be {FORMAT}")
    name = reader.text("set", found.get("set"), _SET, "a name: small letters, digits and hyphens")
    project = found.get("project")
    if not isinstance(project, str) or not project:
        reader.add("project", "must be the key or the name of a project")
    entries: list[FileEntry] = []
    for noun in NOUNS:
        if noun.parent is None and noun.section in found:
            entries += reader.entries(noun, noun.section, found[noun.section], None)
    _refuse_doubles(reader, entries)
    moved = tuple(_moved(reader, found.get("moved", [])))
    if len(entries) > MOST_ENTRIES:
        reader.add("", f"has {len(entries):,} entries; at most {MOST_ENTRIES:,} fit", "too_many")
    if reader.problems:
        raise Invalid(reader.problems)
    return Configuration(set=name, project=str(project), entries=tuple(entries), moved=moved)


def _with_nul(value: object, place: str) -> Iterator[str]:
    """Places of texts and names with NUL, which the database has not in JSON."""
    if isinstance(value, str) and "\0" in value:
        yield place
    elif isinstance(value, dict):
        for name, inner in value.items():
            where = f"{place}.{name}".lstrip(".")
            if "\0" in name:
                yield where
            yield from _with_nul(inner, where)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _with_nul(inner, f"{place}.{number}".lstrip("."))


def _refuse_doubles(reader: _EntryReader, entries: Iterable[FileEntry]) -> None:
    places: dict[tuple[str, str], str] = {}
    for entry in entries:
        first = places.setdefault(entry.name, entry.place)
        if first != entry.place:
            reader.add(entry.place, f"has the key of {first}", "double")


def _moved(reader: _EntryReader, value: object) -> Iterator[Moved]:
    kinds = [noun.kind for noun in NOUNS if noun.movable]
    for number, each in enumerate(reader.several("moved", value)):
        place = f"moved.{number}"
        found = reader.mapping(place, each, ("kind", "from", "to"))
        if found is None:
            continue
        if found.get("kind") not in kinds:
            reader.add(f"{place}.kind", f"must be one of {', '.join(kinds)}", "not_in_list")
        keys = [
            reader.text(f"{place}.{name}", found.get(name), _HANDLE, "a key")
            for name in ("from", "to")
        ]
        yield Moved(kind=str(found.get("kind")), before=keys[0], after=keys[1])
