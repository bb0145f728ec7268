"""What a check of `ostiary doctor` found: a state, a sentence, and what to do. Pure values."""

import enum
from dataclasses import dataclass


class CheckState(enum.StrEnum):
    OK = "ok"
    SKIPPED = "skipped"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    check: str
    state: CheckState
    #: One sentence, without a secret.
    said: str
    #: What to do; empty if there is nothing to do.
    todo: str = ""


def ok(check: str, said: str) -> Finding:
    return Finding(check=check, state=CheckState.OK, said=said)


def skipped(check: str, said: str) -> Finding:
    return Finding(check=check, state=CheckState.SKIPPED, said=said)


def warning(check: str, said: str, todo: str) -> Finding:
    return Finding(check=check, state=CheckState.WARNING, said=said, todo=todo)


def problem(check: str, said: str, todo: str) -> Finding:
    return Finding(check=check, state=CheckState.PROBLEM, said=said, todo=todo)
