"""ETags: an object's version changes with every save, so that editors do not overwrite each other."""

import hashlib

from django.db import models

from ostiary.directory.changes.errors import Stale


def etag(instance: models.Model) -> str:
    """The object's version as a strong ETag (RFC 9110, section 8.8.3)."""
    parts: list[object] = [type(instance).__name__, instance.pk]
    parts += [getattr(instance, name, None) for name in ("updated_at", "epoch")]
    return of_value(parts)


def of_value(value: object) -> str:
    """An ETag of what has no row of its own, by its `repr`."""
    return f'"{hashlib.sha256(repr(value).encode()).hexdigest()[:20]}"'


def check(instance: models.Model, if_match: str | None) -> None:
    """Raise Stale unless `if_match` (the value of an If-Match header) names this version."""
    check_tag(etag(instance), if_match)


def check_tag(tag: str, if_match: str | None) -> None:
    """As `check`, for an ETag that was made of a value."""
    if if_match is None or if_match.strip() == "*":
        return
    if tag not in {named.strip() for named in if_match.split(",")}:
        raise Stale("It was changed in the meantime; read it again")
