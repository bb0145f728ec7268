"""Explanations as they are kept: the steps of a decision as plain JSON, and back."""

from collections.abc import Iterable, Mapping
from typing import Any

from ostiary.access.decision import Outcome, Step
from ostiary.access.reasons import Reason


def written(steps: Iterable[Step]) -> list[dict[str, Any]]:
    """`[{"check", "outcome", "inputs": {name: value}, "reason"}]`, in the steps' order."""
    return [
        {
            "check": step.check,
            "outcome": step.outcome.value,
            "inputs": dict(step.inputs),
            "reason": step.reason.value if step.reason else None,
        }
        for step in steps
    ]


def read(kept: Iterable[Mapping[str, Any]]) -> tuple[Step, ...]:
    """The steps of a kept trace; raises KeyError or ValueError for what `written` never wrote."""
    return tuple(
        Step(
            check=step["check"],
            outcome=Outcome(step["outcome"]),
            inputs=tuple(step["inputs"].items()),
            reason=Reason(step["reason"]) if step["reason"] else None,
        )
        for step in kept
    )
