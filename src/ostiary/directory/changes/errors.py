"""How a use case refuses: a closed set of exceptions that API and console present."""

from collections.abc import Mapping, Sequence


class Refused(Exception):
    """A use case did nothing, and says why in one sentence."""


class Invalid(Refused):
    """Input that does not fit: field name → sentences, as the API's `errors`."""

    def __init__(self, errors: Mapping[str, Sequence[str]]) -> None:
        self.errors = {name: list(sentences) for name, sentences in errors.items()}
        super().__init__("Validation failed")


class NotFound(Refused):
    """No such thing, or none that the actor may see."""

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


class NotInForce(Refused):
    """Saved, but not every gateway has confirmed that it is in force; repeating is safe.

    `sentence` says what holds until it is, where "try again" would not be right.
    """

    def __init__(self, sentence: str = "") -> None:
        super().__init__(
            sentence or "Saved, not yet in force: the gateway has not confirmed it; try again."
        )
