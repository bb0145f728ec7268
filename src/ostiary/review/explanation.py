"""An explanation: a call's verdict, the stage that decided, and the inputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ostiary.access.decision import Step, StepOutcome
from ostiary.access.reasons import Description, Reason, describe
from ostiary.access.stages import Stage
from ostiary.directory import models
from ostiary.usage.models import LoggedCall


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """`stages` are steps as `access.explain` has them, with those of the gateway around them."""

    stages: tuple[Step, ...]
    #: Why it was refused; empty: it was admitted.
    reason: Reason | None
    #: Reason for which a watch-only rule would have refused.
    would: Reason | None
    #: The HTTP status; 0: whatever the API answers, -1: no answer was sent.
    status: int
    what: str
    #: What the owner can do; empty: nothing to be done.
    remedy: str = ""
    profile: models.AccessProfile | None = None
    #: The logged call; empty: a made-up one.
    call: LoggedCall | None = None
    #: The feed's sequence on which the authority decided; empty: it is not known.
    sequence: int | None = None
    #: What owners have changed since then that could matter, the newest first.
    changes: tuple[models.AuditEvent, ...] = ()
    #: What would become of the very same call now; empty: it cannot be told.
    now: "Explanation | None" = None

    @property
    def described(self) -> Description | None:
        """The row of the reason, with what the consumer is shown."""
        return describe(self.reason) if self.reason else None

    @property
    def at(self) -> datetime | None:
        """When the logged call ended."""
        return datetime.fromtimestamp(self.call.at_ms / 1000, UTC) if self.call else None

    @property
    def verdict(self) -> str:
        if self.reason is not None:
            return "refused"
        return "unanswered" if self.status < 0 else "admitted"


def laid_out(
    *,
    decided: Mapping[Stage, Step],
    failing: Stage | None,
    reason: Reason | None,
    watched: Mapping[Stage, Reason],
    inputs: Callable[[Stage], Mapping[str, str]],
) -> tuple[Step, ...]:
    """Every stage in order: passed up to the one that refused, and not reached after it.

    `decided` are steps of a decision, by their check; what they do not tell, `inputs` does.
    """
    steps: list[Step] = []
    for stage in Stage:
        if any(step.outcome is StepOutcome.FAILED for step in steps):
            steps.append(Step(check=stage, outcome=StepOutcome.NOT_REACHED))
        elif stage in decided and decided[stage].outcome is not StepOutcome.NOT_REACHED:
            steps.append(decided[stage])
        else:
            failed = stage is failing
            passed = StepOutcome.WATCHED if stage in watched else StepOutcome.PASSED
            steps.append(
                Step(
                    check=stage,
                    outcome=StepOutcome.FAILED if failed else passed,
                    inputs=tuple(inputs(stage).items()),
                    reason=reason if failed else watched.get(stage),
                )
            )
    return tuple(steps)
