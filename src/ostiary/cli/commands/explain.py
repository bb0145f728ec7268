"""`ostiary explain`: why a logged call was refused or admitted, as a text."""

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING

from ostiary.cli.startup import django_setup
from ostiary.settings import Settings

if TYPE_CHECKING:
    from ostiary.review.explanation import Explanation


def explained(settings: Settings, *, request_id: str) -> str:
    """The explanation of a call, one stage a line; raises Failure for one that is not there."""
    with django_setup.opened(settings):
        from ostiary.directory.actor import SYSTEM

        logged_calls = import_module("ostiary.review.logged_calls")
        return "\n".join(_lines(logged_calls.explained(by=SYSTEM, request_id=request_id)))


def _lines(explanation: "Explanation") -> Iterator[str]:
    from ostiary.access.decision import StepOutcome
    from ostiary.access.stages import STAGES

    reason = f" ({explanation.reason})" if explanation.reason else ""
    yield f"{explanation.verdict.capitalize()}{reason}. {explanation.what}"
    if explanation.remedy:
        yield explanation.remedy
    if explanation.profile is not None:
        yield f"Access profile {explanation.profile.pk}: {explanation.profile.name}"
    yield ""
    for step in explanation.stages:
        yield f"{step.outcome.value:<12}  {STAGES[step.check].question}"
        if step.outcome is not StepOutcome.NOT_REACHED:
            yield from (f"{'':<14}{name}: {value}" for name, value in step.inputs)
    if explanation.sequence is not None:
        yield f"\nDecided on sequence {explanation.sequence} of the change feed."
    yield f"\nChanged since then: {len(explanation.changes) or 'nothing that the decision depends on'}"
    for event in explanation.changes:
        yield f"  {event.at:%Y-%m-%d %H:%M:%S} UTC  {event.actor_name}: {event.action} {event.target_name}"
    if explanation.now is not None:
        yield f"The same call now: {explanation.now.verdict}. {explanation.now.what}"
