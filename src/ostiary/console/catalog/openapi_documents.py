"""OpenAPI documents in forms: as a file or pasted, and carried from one page to the next."""

import base64
import binascii
import zlib
from typing import Final

from django.http import HttpRequest

from ostiary.directory.catalog import openapi
from ostiary.directory.changes.errors import Invalid

#: Characters of a document in a hidden field, 3 MB in base64. All fields of a form together may have 6 MB.
MOST_CARRIED: Final = 4 * 1024 * 1024
TOO_LARGE_TO_CARRY: Final = (
    "The document is too large for this page, even compressed. Import it with the API:"
    " PUT /api/api_collections/{id}/import takes up to 50 MB."
)
LOST: Final = "The document did not come back whole. Choose its file once more."


def sent_document(request: HttpRequest) -> tuple[str, str] | None:
    """An OpenAPI document and its format, as a file or pasted. Raises Invalid."""
    try:
        content = _content(request)
    except openapi.BadDocument as error:
        raise Invalid({"openapi_spec": [str(error)]}) from None
    return (content, _format(content)) if content else None


def _content(request: HttpRequest) -> str:
    upload = request.FILES.get("openapi_file")
    if upload is None:
        return request.POST.get("openapi_spec", "").strip()
    try:
        if (upload.size or 0) > openapi.LARGEST:
            raise openapi.BadDocument(openapi.TOO_LARGE)
        content: str = upload.read().decode("utf-8")
        if not content.strip():
            raise openapi.BadDocument("The file is empty.")
        if request.POST.get("openapi_spec", "").strip():
            raise openapi.BadDocument("Give a file or a text, not both.")
    except UnicodeDecodeError:
        raise openapi.BadDocument("The document is not UTF-8 text.") from None
    return content


def _format(content: str) -> str:
    """JSON if it begins like it."""
    return "json" if content[:1000].lstrip("\ufeff \t\r\n").startswith("{") else "yaml"


def carried(content: str) -> str:
    """A document as the value of a hidden field. Raises Invalid if it is too large for that.

    Compressed, because fields have a smaller bound than files; in base64, because browsers change
    the line ends of a text.
    """
    value = base64.b64encode(zlib.compress(content.encode())).decode()
    if len(value) > MOST_CARRIED:
        raise Invalid({"openapi_spec": [TOO_LARGE_TO_CARRY]})
    return value


def carried_back(value: str) -> tuple[str, str]:
    """The document that a hidden field holds, and its format. Raises Invalid."""
    reader = zlib.decompressobj()
    try:
        content = reader.decompress(
            base64.b64decode(value, validate=True), openapi.LARGEST
        ).decode()
    except (binascii.Error, zlib.error, ValueError):
        raise Invalid({"openapi_spec": [LOST]}) from None
    if not reader.eof:
        raise Invalid({"openapi_spec": [LOST]})
    return content, _format(content)
