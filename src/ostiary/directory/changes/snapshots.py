"""What a row holds: a change that leaves it as it was is none, and is neither saved nor recorded."""

from collections.abc import Mapping
from copy import deepcopy

from django.db import models

#: Columns that say how often a row was changed.
_VERSION = frozenset({"epoch", "updated_at"})


def snapshot(row: models.Model) -> Mapping[str, object]:
    """The loaded columns of a row without its version, as they are now."""
    left_out = _VERSION | row.get_deferred_fields()
    names = (field.attname for field in row._meta.concrete_fields)
    return {name: _copied(getattr(row, name)) for name in names if name not in left_out}


def _copied(value: object) -> object:
    return deepcopy(value) if isinstance(value, (list, dict)) else value
