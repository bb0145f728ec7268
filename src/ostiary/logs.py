"""What the parts say on standard error: one event a line, as JSON for machines or as text.

Knows no part. Whatever looks like a secret of ours is taken out of every line last of all: nobody
should log one, and a library's error might.
"""

import json
import logging
import re
import sys
import threading
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from pythonjsonlogger.json import JsonFormatter

#: The id of the request that is answered now; empty outside of any.
request_id: ContextVar[str] = ContextVar("request_id", default="")

_SECRETS = re.compile(
    # Tokens, secrets and ids that we issue; webhooks' secrets; signed tokens.
    r"\bost[a-z]?_[A-Za-z0-9_-]{8,}|\bwhsec_[A-Za-z0-9+/=_-]{8,}"
    r"|\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*"
    # What stands after the name of a credential, and passwords in URLs.
    r"|(?<=bearer )\S{8,}|(?<=basic )[A-Za-z0-9+/=]{8,}|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)",
    re.IGNORECASE,
)
_LEVELS = {"NOTICE": "info", "WARNING": "warning", "ALERT": "critical", "EMERG": "critical"}
_HAPROXY = re.compile(r"\[(NOTICE|WARNING|ALERT|EMERG)\]\s*(?:\(\d+\) : )?(.*)")


def redacted(text: str) -> str:
    """A text without what looks like a secret."""
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
    """Say everything of this process on standard error, in the form `json` or `text`."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Json(part) if form == "json" else _Text())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    # On a terminal what goes well is not worth a line.
    logging.getLogger("ostiary").setLevel(logging.INFO if form == "json" else logging.WARNING)
    # Django's word on every 404, which are counted and in the line of the request.
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
    """A line that the process of `part` said, as it is passed on.

    In the form `json`, events of the part itself are passed as they are. Everything else (HAProxy, a
    recipe that prints) becomes an event.
    """
    if form != "json":
        return f"{part}: {redacted(line)}"
    if line.startswith("{") and _is_event_of(part, line):
        return line
    told = _HAPROXY.match(line) if part == "gateway" else None
    return json.dumps(
        {
            "time": _moment(datetime.now(UTC).timestamp()),
            "level": _LEVELS[told[1]] if told else "info",
            "event": redacted(told[2] if told else line),
            "logger": "output",
            "part": part,
        },
        ensure_ascii=False,
    )


def _is_event_of(part: str, line: str) -> bool:
    """Whether a line is an event of the part: a recipe must not speak in another's name."""
    try:
        content = json.loads(line)
    except ValueError:
        return False
    return isinstance(content, dict) and content.get("part") == part and "event" in content


def _moment(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
