"""OpenAPI documents in forms: as a file or pasted, and kept from one page to the next."""

from collections.abc import Mapping
from typing import Final, cast

from django.http import HttpRequest

from ostiary.access.paths import parse_template
from ostiary.directory.catalog import openapi
from ostiary.directory.catalog.openapi_operations import key
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.models import Member
from ostiary.directory.people import form_pages

LOST: Final = "The document is kept for two hours, and is gone. Choose its file once more."


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


def carried(request: HttpRequest, content: str) -> str:
    """Keep a document for the next page; what a hidden field of it holds."""
    return form_pages.keep_document(cast("Member", request.user), content.encode())


def carried_back(request: HttpRequest) -> tuple[str, str]:
    """The document that a hidden field stands for, and its format. Raises Invalid."""
    name = request.POST.get("document", "")[:100]
    content = form_pages.document(cast("Member", request.user), name)
    if content is None:
        raise Invalid({"openapi_spec": [LOST]})
    text = content.decode()
    return text, _format(text)


def tags_of(read: openapi.Document) -> Mapping[str, tuple[str, ...]]:
    """The tags of a document's operations, by their titles."""
    kept = read.specification
    if kept is None:
        return {}
    found: dict[str, tuple[str, ...]] = {}
    for each in read.operations:
        operation = kept.operations.get(key(each.method, parse_template(each.path).shape), {})
        tags = operation.get("tags")
        found[each.title] = tuple(map(str, tags)) if isinstance(tags, list | tuple) else ()
    return found
