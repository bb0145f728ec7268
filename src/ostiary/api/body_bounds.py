"""Bounds of bodies of the management API that may be larger than others."""

import re
from typing import Final

from ostiary.directory.catalog import openapi

#: Bytes of a call that imports a document, whose text grows in JSON, and of one that plans a configuration.
LARGEST_IMPORT: Final = 2 * openapi.LARGEST
LARGEST_PLAN: Final = 64 * 1024 * 1024
_LARGER: Final = (
    (re.compile(r"POST /api/api_collections"), LARGEST_IMPORT),
    (
        re.compile(r"(PUT|POST) /api/api_collections/[0-9]+/import(/preview)?"),
        LARGEST_IMPORT,
    ),
    (re.compile(r"POST /api/v2/plans"), LARGEST_PLAN),
)


def largest(method: str, path: str) -> int | None:
    """How many bytes the body of a call may have, if it may have more than others."""
    call = f"{method} {path}"
    return next((most for form, most in _LARGER if form.fullmatch(call)), None)
