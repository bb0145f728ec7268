"""A secret value: every way of printing it shows stars."""

import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NoReturn

_noted: ContextVar[set[str] | None] = ContextVar("noted_secrets", default=None)


@contextmanager
def noted() -> Iterator[set[str]]:
    """The texts that are revealed in this block, so that its caller can mask them elsewhere."""
    texts: set[str] = set()
    mark = _noted.set(texts)
    try:
        yield texts
    finally:
        _noted.reset(mark)


class Secret:
    """A secret text. `reveal()` is the only way out, and easy to search for."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        texts = _noted.get()
        if texts is not None:
            texts.add(self._text)
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
