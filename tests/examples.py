"""How many examples Hypothesis makes for tests that run on both databases."""

from ostiary import settings


def examples(number: int) -> int:
    """A third on PostgreSQL: the code is the same, and only its SQL is in question there."""
    return number if settings.current().database.engine == "sqlite" else number // 3
