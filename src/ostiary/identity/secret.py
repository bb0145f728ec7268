"""A secret value: every way of printing it shows stars."""

import hmac
from typing import NoReturn


class Secret:
    """A secret text. `reveal()` is the only way out, and easy to search for."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        # A lone surrogate, as JSON can carry one, must not be an error that shows the text.
        own, others = (s.reveal().encode("utf-8", "surrogatepass") for s in (self, other))
        return hmac.compare_digest(own, others)

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")
