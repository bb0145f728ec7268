"""Documents in JSON and YAML as trees of objects, lists and texts, with the lines of their paths.

Pure; knows neither OpenAPI nor a table.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

import yaml

#: Nothing that people write is nested so deep, and readers slow down with the square of it.
DEEPEST = 100
TOO_DEEP = "The document is nested too deep."

_LOADER = yaml.CBaseLoader if yaml.__with_libyaml__ else yaml.BaseLoader
#: YAML 1.2, section 10.3.2: what a text without quotes stands for.
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_FLAGS = {
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_WHOLE = re.compile(r"[-+]?[0-9]{1,40}")
_DECIMAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
#: A text in JSON, and whether it is a key; or a bracket.
_JSON_TOKEN = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"(\s*:)?|[{}\[\]]', re.DOTALL)
#: Control characters but line feed and tab, and halves of surrogate pairs.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_LARGEST_NUMBER = 1.7976931348623157e308


class BadDocument(Exception):
    """Not a document that endpoints can be taken from; the text is one sentence."""


class Untyped(str):
    """A number of JSON, or a text of YAML without quotes, as it is written: see `typed`."""

    __slots__ = ()


#: Lines by a path and a key of its path item; the key is empty for the path itself.
Lines = Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    root: Mapping[str, object]
    #: Of YAML; those of JSON are looked up when somebody needs them.
    lines: Lines | None
    content: str

    def lines_of_paths(self) -> Lines:
        return _lines_of_json(self.content) if self.lines is None else self.lines


def parse(content: str, form: str) -> Tree:
    """Read a text; `form` is `json` or `yaml`. Raises BadDocument.

    The tree is only ever looked at by name: an alias that stands for much costs nothing, as long as
    nobody copies or prints what it stands for.
    """
    lines: dict[tuple[str, str], int] | None = None
    try:
        if form == "json":
            root = _json(content)
        else:
            lines = {}
            root = _yaml(content, lines)
    except json.JSONDecodeError as error:
        raise BadDocument(f"The document is not valid JSON: see line {error.lineno}.") from None
    except yaml.MarkedYAMLError as error:
        if "nesting" in (error.problem or ""):  # libyaml from 0.2.6 on has a limit of its own
            raise BadDocument(TOO_DEEP) from None
        line = f": see line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise BadDocument(f"The document is not valid YAML{line}.") from None
    except (ValueError, yaml.YAMLError):
        raise BadDocument(f"The document is not valid {form.upper()}.") from None
    except RecursionError:
        raise BadDocument(TOO_DEEP) from None
    if not isinstance(root, dict):
        raise BadDocument("The document must be an object.")
    return Tree(root=root, lines=lines, content=content)


def _json(content: str) -> object:
    return json.loads(
        content,
        object_pairs_hook=_object,
        parse_int=Untyped,
        parse_float=Untyped,
        parse_constant=str,
    )


def _yaml(content: str, lines: dict[tuple[str, str], int]) -> object:
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
                    raise BadDocument(TOO_DEEP)
                above.append((event.anchor, []))
                continue
            case yaml.ScalarEvent():
                anchor = event.anchor
                value = Untyped(event.value) if event.implicit[0] else event.value
                if 3 <= len(above) <= 4 and event.start_mark is not None:
                    _note_line(above, event.value, event.start_mark.line + 1, lines)
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


def _note_line(
    above: Sequence[tuple[str | None, list[object]]],
    text: str,
    line: int,
    lines: dict[tuple[str, str], int],
) -> None:
    """Remember the line of a path, or of a key of its path item."""
    top, items = above[1][1], above[-1][1]
    if len(items) % 2 or len(top) % 2 == 0 or top[-1] != "paths":
        return
    if len(above) == 3:
        lines[text, ""] = line
    elif above[2][1] and isinstance(path := above[2][1][-1], str):
        lines[path, text] = line


def _lines_of_json(content: str) -> Lines:
    lines: dict[tuple[str, str], int] = {}
    keys = ["", "", ""]
    depth, line, counted = 0, 1, 0
    for token in _JSON_TOKEN.finditer(content):
        if token[0] in "{[":
            depth += 1
        elif token[0] in "}]":
            depth -= 1
        elif token[2] and depth <= 3:
            keys[depth - 1] = json.loads(f'"{token[1]}"', strict=False)
            if depth >= 2 and keys[0] == "paths":
                line += content.count("\n", counted, token.start())
                counted = token.start()
                lines.setdefault((keys[1], keys[2] if depth == 3 else ""), line)
    return lines


def _object(pairs: Iterable[tuple[object, object]]) -> dict[str, object]:
    """An object's entries; of two that are named alike one would be lost without a word."""
    made: dict[str, object] = {}
    for key, value in pairs:
        if not isinstance(key, str):
            raise BadDocument("The document has a key that isn't a text.")
        if key in made:
            raise BadDocument(f"The document has {line(key, 80)!r} twice in one object.")
        made[key] = value
    return made


def mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def listing(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


def text(value: object, longest: int) -> str:
    """A text as the directory takes it; anything else is none."""
    if not isinstance(value, str):
        return ""
    return _CONTROL.sub("", value).strip()[:longest].rstrip()


def line(value: object, longest: int) -> str:
    return text(" ".join(value.split()), longest) if isinstance(value, str) else ""


def pointed(root: Mapping[str, object], reference: str) -> object:
    """What a reference within the document refers to: RFC 6901, as a URI's fragment."""
    found: object = root
    for part in reference[2:].split("/"):
        name = unquote(part).replace("~1", "/").replace("~0", "~")
        if isinstance(found, list):
            known = name.isdecimal() and len(name) < 10 and int(name) < len(found)
            found = found[int(name)] if known else None
        else:
            found = mapping(found).get(name)
    return found


def typed(value: object) -> object:
    """A number, a flag or nothing where the document means one; else the text as it is."""
    if not isinstance(value, Untyped):
        return value
    if value in _NULL:
        return None
    if value in _FLAGS:
        return _FLAGS[value]
    if _WHOLE.fullmatch(value):
        return int(value)
    if _DECIMAL.fullmatch(value):
        number = float(value)
        return math.copysign(_LARGEST_NUMBER, number) if math.isinf(number) else number
    return str(value)


def flag(value: object) -> bool:
    return typed(value) is True
