"""Explanations as they are stored: the steps of a decision as plain JSON, and back."""

from collections.abc import Iterable, Mapping
from typing import Any

from ostiary.access.decision import Step, StepOutcome
from ostiary.access.reasons import Reason
from ostiary.access.stages import Stage


def written(steps: Iterable[Step]) -> list[dict[str, Any]]:
    """`[{"check", "outcome", "inputs": {name: value}, "reason"}]`, in the steps' order."""
    return [
        {
            "check": step.check.value,
            "outcome": step.outcome.value,
            "inputs": dict(step.inputs),
            "reason": step.reason.value if step.reason else None,
        }
        for step in steps
    ]


def read(stored: Iterable[Mapping[str, Any]]) -> tuple[Step, ...]:
    """The steps of a stored trace; raises KeyError or ValueError for what `written` never wrote."""
    return tuple(
        Step(
            check=Stage(step["check"]),
            outcome=StepOutcome(step["outcome"]),
            inputs=tuple(step["inputs"].items()),
            reason=Reason(step["reason"]) if step["reason"] else None,
        )
        for step in stored
    )
