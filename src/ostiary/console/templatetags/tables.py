"""Filters for cells of tables."""

from collections.abc import Iterable
from typing import Final

from django import template

register = template.Library()

#: Height of small bars.
HEIGHT: Final = 20


@register.filter
def times(number: int, factor: int) -> int:
    return number * factor


@register.filter
def below(height: int) -> int:
    """Where a bar of this height begins."""
    return HEIGHT - height


@register.filter
def share(number: int, percent: int) -> int:
    """So many percent of a number."""
    return number * percent // 100


@register.filter
def lines(texts: Iterable[str]) -> str:
    """Texts as lines of one, for scripts."""
    return "\n".join(texts)
