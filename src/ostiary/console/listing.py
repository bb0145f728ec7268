"""Lists: where a page lies in one, and numbers out of an address."""

from dataclasses import dataclass
from urllib.parse import urlencode

PER_PAGE = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Paging:
    """Where in a list a page lies; links keep the filters."""

    number: int
    total: int
    filters: dict[str, str]

    @property
    def pages(self) -> int:
        return max(1, -(-self.total // PER_PAGE))

    @property
    def previous(self) -> str:
        return self._link(self.number - 1) if self.number > 1 else ""

    @property
    def following(self) -> str:
        return self._link(self.number + 1) if self.number < self.pages else ""

    def _link(self, number: int) -> str:
        return "?" + urlencode({**self.filters, "page": number})


def number_of(text: str | None) -> int | None:
    """A number as addresses and forms hold it; nothing if it is none."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else None
