"""Refusals of use cases: a closed set of exceptions that API and console present."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel


class Refused(Exception):
    """A use case changed nothing; the text says why in one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem of the input: a field by the directory's name, a code, and a sentence.

    Within a field, further names and places follow after dots.
    """

    field: str
    code: str
    sentence: str


class Invalid(Refused):
    """Invalid input. `noun` is the model that declares the fields, if there is one."""

    def __init__(
        self,
        problems: Iterable[Problem] | Mapping[str, Sequence[str]],
        *,
        noun: type[BaseModel] | None = None,
    ) -> None:
        if isinstance(problems, Mapping):
            problems = [
                Problem(field=field, code="invalid", sentence=sentence)
                for field, sentences in problems.items()
                for sentence in sentences
            ]
        self.problems = tuple(problems)
        self.noun = noun
        super().__init__("Validation failed")

    @property
    def errors(self) -> dict[str, list[str]]:
        """The sentences by field."""
        found: dict[str, list[str]] = {}
        for problem in self.problems:
            found.setdefault(problem.field, []).append(problem.sentence)
        return found

    @property
    def sentences(self) -> str:
        """All sentences as one."""
        return "; ".join(problem.sentence for problem in self.problems)


class NotFound(Refused):
    """The object does not exist, or the actor may not see it."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what[:1].upper()}{what[1:]} not found")


class Forbidden(Refused):
    """The actor sees it, but its role is too small."""


class InUse(Refused):
    """It cannot be deleted while others rely on it."""


class CannotDestroy(InUse):
    """A folder or project that cannot be deleted as it is; `why` is a sentence about it."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__("Cannot destroy folder")


class Stale(Refused):
    """Somebody else changed it since the caller read it (If-Match, or a form's version)."""


class KeyReused(Refused):
    """An `Idempotency-Key` came again with another call."""

    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key was used for another call: repeat that one, or use a new key"
        )


class NotInForce(Refused):
    """Saved, but not every gateway has confirmed that it is in force; repeating is safe.

    `sentence` says what holds until it is, where "try again" would not be right.
    """

    def __init__(self, sentence: str = "") -> None:
        super().__init__(
            sentence or "Saved, not yet in force: the gateway has not confirmed it; try again."
        )
