"""What options say, as values of the API."""

import argparse
import json
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ostiary.cli.failure import Failure
from ostiary.cli.remote.nouns.declarations import Option, OptionKind, RemoteOperation

NONE = frozenset({"none", "never", "null"})
_SPAN = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
#: Bytes of a file that goes into a body: an imported document is the largest.
_LONGEST = 32 * 1024 * 1024
_RATE = re.compile(r"([0-9]{1,12})/([a-z_]+)")


def body(
    operation: RemoteOperation, arguments: argparse.Namespace, now: datetime
) -> dict[str, Any] | None:
    """The body of a call; nothing if it has none. Raises Failure."""
    if not operation.body:
        return None
    made = _read_body(getattr(arguments, "body", None)) | dict(operation.always)
    for option in operation.body:
        given = getattr(arguments, option.dest)
        if given is not None:
            _put(made, option.name, value(option, given, now))
    if operation.verb == "change" and not made:
        raise Failure("There is nothing to change; name a field.")
    return made


def query(
    operation: RemoteOperation, arguments: argparse.Namespace, now: datetime
) -> dict[str, str]:
    """The parameters of a call; spans of time are ago."""
    found = {}
    for option in operation.query:
        given = getattr(arguments, option.dest)
        if given is not None:
            read = value(option, given, now, ahead=False)
            found[option.name] = str(read).lower() if isinstance(read, bool) else str(read)
    return found


def value(option: Option, given: Any, now: datetime, *, ahead: bool = True) -> Any:
    """The value of one option; raises Failure with its name."""
    try:
        match option.kind:
            case OptionKind.NUMBER:
                return None if given in NONE else _number(given)
            case OptionKind.NUMBERS:
                return [_number(each) for each in given if each != "none"]
            case OptionKind.TEXTS:
                return [each for each in given if each != "none"]
            case OptionKind.TIME:
                return None if given in NONE else _time(given, now, ahead=ahead)
            case OptionKind.RATE:
                return None if given in NONE else _rate(given)
            case OptionKind.RATES:
                return [_rate(each) for each in given if each != "none"]
            case OptionKind.PAIRS:
                return dict(_pair(each) for each in given if each != "none")
            case OptionKind.FILE:
                return read_file(given).strip()
            case OptionKind.CHOICE | OptionKind.TEXT_OR_NONE:
                return None if given == "none" else given
            case OptionKind.TEXT | OptionKind.FLAG:
                return given
    except ValueError as error:
        raise Failure(f"{option.long} {error}.") from None


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise ValueError(f"must be a number, not {text!r}")
    return int(text)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError("must be NAME=VALUE")
    return name, value


def _time(text: str, now: datetime, *, ahead: bool) -> str:
    if span := _SPAN.fullmatch(text):
        length = timedelta(**{_UNITS[span[2]]: int(span[1])})
        return (now + length if ahead else now - length).isoformat()
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            "must be a time such as 2030-01-31T12:00:00Z, or a span such as 30d"
        ) from None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).isoformat()


def _rate(text: str) -> dict[str, object]:
    found = _RATE.fullmatch(text)
    if found is None:
        raise ValueError("must be a number of calls and an interval, such as 100/minute")
    return {"limit": int(found[1]), "interval": found[2]}


def read_file(name: str) -> str:
    """The text of a file, or of standard input; raises Failure."""
    try:
        if name == "-":
            text = sys.stdin.read(_LONGEST + 1)
        else:
            with Path(name).open(encoding="utf-8") as file:
                text = file.read(_LONGEST + 1)
    except UnicodeDecodeError:
        raise Failure(f"{name} is not a text.") from None
    except OSError as error:
        raise Failure(f"{name} can't be read: {error.strerror}.") from None
    if len(text) > _LONGEST:
        raise Failure(f"{name} is longer than {_LONGEST // 1024**2} MB.")
    return text


def _read_body(name: str | None) -> dict[str, Any]:
    if not name:
        return {}
    try:
        read = json.loads(read_file(name))
    except ValueError:
        read = None
    if not isinstance(read, dict):
        raise Failure(f"{name} does not hold one JSON object.")
    return read


def _put(body: dict[str, Any], name: str, read: Any) -> None:
    first, *rest = name.split(".")
    if rest:
        _put(body.setdefault(first, {}), ".".join(rest), read)
    else:
        body[first] = read


def path(operation: RemoteOperation, arguments: argparse.Namespace) -> str:
    """The path of a call with its ids."""
    return operation.path.format(
        **{name: getattr(arguments, f"path_{name}") for name in operation.arguments}
    )
