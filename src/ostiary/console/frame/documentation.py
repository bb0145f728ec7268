"""The page of the documents that describes a page of the console."""

from collections.abc import Mapping
from typing import Final

from ostiary import settings

#: By the first part of an address: a page below `docs`, without its ending.
PAGES: Final[Mapping[str, str]] = {
    "": "tutorial",
    "protect": "tutorial",
    "clients": "how-to/hand-over",
    "access-profiles": "reference/authentication",
    "profiles": "reference/authentication",
    "credentials": "reference/authentication",
    "collections": "reference/collections",
    "endpoints": "reference/paths",
    "address-lists": "reference/addresses",
    "policies": "how-to/limit-calls",
    "connections": "reference/collections",
    "recipes": "how-to/recipes",
    "webhooks": "how-to/webhooks",
    "usage": "reference/usage",
    "logs": "reference/usage",
    "explain": "how-to/explain",
    "advice": "how-to/try-rules",
    "projects": "reference/members",
    "configuration-files": "how-to/configuration-as-files",
    "members": "reference/members",
    "account": "reference/members",
    "tokens": "how-to/call-the-api",
    "management-api": "reference/api",
    "audit-log": "reference/workspace",
    "recently-deleted": "reference/workspace",
    "nodes": "how-to/several-machines",
    "settings": "reference/workspace",
}


def url(path: str) -> str:
    """Where the documents describe the page at a path; empty: nobody serves them."""
    base = settings.current().docs_url
    return f"{base}/{PAGES.get(path.split('/')[1], 'index')}.html" if base else ""
