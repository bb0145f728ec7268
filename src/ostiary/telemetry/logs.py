"""What the parts log on standard error: one event a line, as JSON for machines or as text.

Knows no part. Whatever looks like a secret of ours is taken out of every line last of all: nobody
should log one, and a library's error might.
"""

import contextlib
import json
import logging
import re
import sys
import threading
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from pythonjsonlogger.json import JsonFormatter

#: The id of the current request; empty outside of requests.
request_id: ContextVar[str] = ContextVar("request_id", default="")

_SECRETS = re.compile(
    # Tokens, secrets and ids that we issue; webhooks' secrets; signed tokens.
    r"\bost[a-z]?_[A-Za-z0-9_-]{8,}|\bwhsec_[A-Za-z0-9+/=_-]{8,}"
    r"|\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*"
    # Values after the name of a credential, and passwords in URLs.
    r"|(?<=bearer )\S{8,}|(?<=basic )[A-Za-z0-9+/=]{8,}|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)",
    re.IGNORECASE,
)
#: nginx's levels, and ours.
_LEVELS = {
    "debug": "debug",
    "info": "info",
    "notice": "info",
    "warn": "warning",
    "error": "error",
    "crit": "critical",
    "alert": "critical",
    "emerg": "critical",
}
_QUIET = frozenset({"debug", "info"})
#: A line of nginx's error log, whose time is UTC as we start it; or one from before it is open.
_NGINX = re.compile(
    rf"""(?: (?P<time>\d{{4}}/\d\d/\d\d\ \d\d:\d\d:\d\d)\ \[(?P<level>{"|".join(_LEVELS)})\]
             \ (?P<pid>\d+)\#\d+:\ (?:\*(?P<connection>\d+)\ )?
         | nginx:\ \[(?P<early>{"|".join(_LEVELS)})\]\ )
         (?P<event>.*)""",
    re.VERBOSE,
)


#: nginx logs requests as they came, and a query may contain a secret.
_QUERY = re.compile(r"\?\S+")


def redacted(text: str) -> str:
    """The text with everything removed that looks like a secret."""
    return _SECRETS.sub("***", text)


class _Json(JsonFormatter):
    def __init__(self, part: str) -> None:
        super().__init__(
            "%(levelname)s %(message)s %(name)s",
            rename_fields={"levelname": "level", "message": "event", "name": "logger"},
            static_fields={"part": part},
            json_ensure_ascii=False,
        )

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        log_data["time"] = _moment(record.created)
        super().add_fields(log_data, record, message_dict)
        log_data["level"] = log_data["level"].lower()
        number = request_id.get()
        if number:
            log_data.setdefault("request_id", number)

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


def set_up(part: str, form: str) -> None:
    """Send all logs of this process to standard error, in the form `json` or `text`."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Json(part) if form == "json" else _Text())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    # On a terminal, show no line for successes.
    logging.getLogger("ostiary").setLevel(logging.INFO if form == "json" else logging.WARNING)
    # Django warns about every 404; the request's own line has it, and it is counted.
    logging.getLogger("django.request").setLevel(logging.ERROR)
    logging.captureWarnings(capture=True)
    log = logging.getLogger("ostiary")

    def end(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        log.critical("the part ended by an error", exc_info=(kind, error, trace))

    def end_thread(told: threading.ExceptHookArgs) -> None:
        if told.exc_value is not None:
            error = (told.exc_type, told.exc_value, told.exc_traceback)
            log.critical("a thread ended by an error", exc_info=error)

    sys.excepthook = end
    threading.excepthook = end_thread


def relayed(part: str, line: str, form: str) -> str:
    """A line that the process of `part` said, as it is passed on; empty if it is not.

    In the form `json`, events of the part itself are passed as they are. Everything else (nginx, a
    recipe that prints) becomes an event.
    """
    if part == "gateway":
        line = _QUERY.sub("?***", line)
    if form != "json":
        match = _NGINX.match(line) if part == "gateway" else None
        # On a terminal, show no line for successes.
        is_quiet = match is not None and _LEVELS[match["level"] or match["early"]] in _QUIET
        return "" if is_quiet else f"{part}: {redacted(line)}"
    if line.startswith("{") and _is_event_of(part, line):
        return line
    event: dict[str, Any] = {
        "time": _moment(datetime.now(UTC).timestamp()),
        "level": "info",
        "event": redacted(line),
        "logger": "output",
        "part": part,
    }
    if part == "gateway" and (match := _NGINX.match(line)) is not None:
        event |= _of_nginx(match)
    return json.dumps(event, ensure_ascii=False)


def _of_nginx(match: re.Match[str]) -> dict[str, Any]:
    """The fields of a line of nginx's error log."""
    fields: dict[str, Any] = {
        "level": _LEVELS[match["level"] or match["early"]],
        "event": redacted(match["event"]),
        "logger": "nginx",
    }
    for name in ("pid", "connection"):
        if match[name]:
            fields[name] = int(match[name])
    with contextlib.suppress(ValueError, TypeError):
        moment = datetime.strptime(match["time"], "%Y/%m/%d %H:%M:%S").replace(tzinfo=UTC)
        fields["time"] = _moment(moment.timestamp())
    return fields


def _is_event_of(part: str, line: str) -> bool:
    """Whether a line is an event of the part: a recipe must not forge another part's lines."""
    try:
        content = json.loads(line)
    except ValueError:
        return False
    return isinstance(content, dict) and content.get("part") == part and "event" in content


def _moment(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
