"""Filters for figures."""

from collections.abc import Mapping

from django import template

register = template.Library()


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
