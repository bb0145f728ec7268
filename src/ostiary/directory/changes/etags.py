"""ETags: an object's version changes with every save, so that editors do not overwrite each other."""

import hashlib

from django.db import models

from ostiary.directory.changes.errors import Stale


def etag(instance: models.Model) -> str:
    """The object's version as a strong ETag (RFC 9110, section 8.8.3)."""
    # A project is a folder, and read as either.
    parts: list[object] = [instance._meta.db_table, instance.pk]
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
    if tag not in {_version(named) for named in if_match.split(",")}:
        raise Stale("It was changed in the meantime; read it again")


def of_answer(version: str, shown: object) -> str:
    """The ETag of an answer: the object's version, and what the answer shows beside it.

    The second part changes also with what nobody changes at the object, such as its last use.
    """
    return f"{version[:-1]}-{of_value(shown)[1:]}"


def _version(tag: str) -> str:
    """The first part of an ETag of an answer; another kind of tag as it is."""
    version, parted, _ = tag.strip().partition("-")
    return f'{version}"' if parted else version


def is_among(tag: str, if_none_match: str) -> bool:
    """Whether an If-None-Match header names an ETag (RFC 9110, section 13.1.2)."""
    named = {each.strip().removeprefix("W/") for each in if_none_match.split(",")}
    return "*" in named or tag in named
