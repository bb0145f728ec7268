"""A call's input: path, query and body together, as one object. Pure."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

from ostiary.access.paths import stored_template


class BadInput(ValueError):
    """The input is invalid; `field` names the wrong field."""

    def __init__(self, field: str, sentence: str) -> None:
        self.field, self.sentence = field, sentence
        super().__init__(sentence)


def merged(
    *, template: str, path: str, query: str, content_type: str, body: bytes
) -> dict[str, Any]:
    """One object of all three; a name that is given twice with two values is refused.

    A query's name that is repeated becomes a list. The body is a JSON object, or a form.
    """
    parts = (_of_path(template, path), _of_query(query), _of_body(content_type, body))
    whole: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            if name in whole and str(whole[name]) != str(value):
                raise BadInput(name, "is given twice with different values")
            whole.setdefault(name, value)
    return whole


def _of_path(template: str, path: str) -> dict[str, str]:
    own = stored_template(_below(template))
    values = own.values(_below(path)[1:].split("/")) or ()
    return {name: unquote(value) for name, value in zip(own.parameters, values, strict=False)}


def _below(path: str) -> str:
    """The path below the collection's handle."""
    return "/" + path.removeprefix("/").partition("/")[2]


def _of_query(query: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=1000, errors="strict")
    except ValueError:
        raise BadInput("query", "isn't a valid query") from None
    for name, value in pairs:
        if name in found:
            earlier = found[name]
            found[name] = [*earlier, value] if isinstance(earlier, list) else [earlier, value]
        else:
            found[name] = value
    return found


def _of_body(content_type: str, body: bytes) -> Mapping[str, Any]:
    if not body:
        return {}
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        return _of_query(body.decode("utf-8", "replace"))
    if kind not in {"", "application/json"} and not kind.endswith("+json"):
        raise BadInput("body", "must be JSON")
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        raise BadInput("body", "isn't valid JSON") from None
    if not isinstance(read, dict):
        raise BadInput("body", "must be a JSON object")
    return read
