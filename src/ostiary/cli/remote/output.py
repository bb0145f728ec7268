"""How answers of the API are printed: as a table, or as JSON."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

#: Fields of answers that are shown this once.
SECRETS = ("secret", "oauth_client_secret", "handover_url")


def unwrapped(answer: Any) -> Any:
    """The object or list of an answer, without the wrapper that its noun has."""
    if isinstance(answer, Mapping):
        for name in ("data", "result"):
            if isinstance(answer.get(name), (Mapping, list)):
                return answer[name]
    return answer


def json_text(value: Any) -> str:
    return f"{json.dumps(value, indent=2, ensure_ascii=False)}\n"


def json_line(value: Any) -> str:
    return f"{json.dumps(value, ensure_ascii=False)}\n"


def rows_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """A table with a heading; columns are as wide as what they hold."""
    names = columns or list(dict.fromkeys(name for row in rows for name in row))
    if not names:
        return ""
    lines = [[name.upper().replace("_", " ") for name in names]]
    lines += [[cell(row.get(name)) for name in names] for row in rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(names))]
    return "".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        + "\n"
        for line in lines
    )


def object_text(shown: Mapping[str, Any]) -> str:
    """Names and values, a line each; what is in an object has its name before it."""
    first = {name: shown[name] for name in ("id", "name") if name in shown}
    pairs = list(_pairs({**first, **shown}, ""))
    width = max((len(name) for name, _ in pairs), default=0)
    return "".join(f"{name.ljust(width)}  {text}".rstrip() + "\n" for name, text in pairs)


def _pairs(shown: Mapping[str, Any], before: str) -> Iterator[tuple[str, str]]:
    for name, value in shown.items():
        if isinstance(value, Mapping) and value and not before:
            yield from _pairs(value, f"{name}.")
        else:
            yield f"{before}{name}", cell(value)


def cell(value: Any) -> str:
    """A value in one line, without characters that a terminal would obey."""
    match value:
        case None | "" | []:
            return "-"
        case dict() if not value:
            return "-"
        case bool():
            return "yes" if value else "no"
        case list() if not any(isinstance(each, (dict, list)) for each in value):
            text = ", ".join(map(str, value))
        case dict() if set(value) == {"limit", "interval"}:
            text = f"{value['limit']}/{value['interval']}"
        case dict() | list():
            text = json.dumps(value, ensure_ascii=False)
        case _:
            text = str(value)
    return "".join(char if char.isprintable() else " " for char in text)
