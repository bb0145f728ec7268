"""Filters for figures."""

from collections.abc import Mapping
from typing import Protocol

from django import template

register = template.Library()


class Addressed(Protocol):
    """A page with filters in its address."""

    def address(self, **others: str) -> str: ...


@register.filter
def grouped(number: int) -> str:
    """`1,234,567`."""
    return f"{number:,}"


@register.filter
def milliseconds(number: int | None) -> str:
    """`12 ms`, `3.4 s`, or a dash where nothing is known."""
    if number is None:
        return "–"
    return f"{number} ms" if number < 10_000 else f"{number / 1000:.1f} s"


@register.filter
def of(counts: Mapping[int, int], key: int) -> int:
    """The count of one of them."""
    return counts.get(key, 0)


@register.filter
def at(values: Mapping[str, str], name: str) -> str:
    """The value under a name; empty if there is none."""
    return values.get(name, "")


@register.filter
def words(text: str) -> list[str]:
    """The words of a text."""
    return text.split()


@register.simple_tag
def logs_with(asked: Addressed, **filters: str) -> str:
    """The address of the log as it is filtered, with one more filter."""
    return asked.address(**filters)
