"""Outcomes of calls as owners read them: admitted, an error, or refused with a reason."""

from ostiary.access.reasons import REASONS, Reason, by_code, describe

#: Codes of rows with admitted calls.
ADMITTED_CODES = frozenset({0, *(row.code for row in REASONS.values() if row.is_admitted)})
#: Classes of status that are an error of an admitted call; 0: no answer was sent.
ERROR_CLASSES = frozenset({0, 4, 5})
NO_ANSWER = "none"


def refused(reason: int) -> bool:
    return reason not in ADMITTED_CODES


def failed(reason: int, status_class: int) -> bool:
    return reason in ADMITTED_CODES and status_class in ERROR_CLASSES


def reason_name(code: int) -> str | None:
    """The name of a stored code; nothing for an admitted call."""
    if not code:
        return None
    try:
        return by_code(code).value
    except KeyError:
        return "unknown"


def reason_label(code: int) -> str:
    """A stored code as pages say it; empty for an admitted call."""
    name = reason_name(code)
    return label(name) if name else ""


def label(name: str) -> str:
    """A reason's name as pages say it."""
    try:
        return Reason(name).label
    except ValueError:
        return "Unknown reason"


def reason_code(name: str) -> int:
    """The stored code of a reason's name, 0 for "none"; raises ValueError for any other."""
    return 0 if name == NO_ANSWER else describe(Reason(name)).code


def class_name(status_class: int) -> str:
    """`2xx`; `none` where no answer was sent."""
    return f"{status_class}xx" if status_class else NO_ANSWER
