"""The port through which API and console learn which objects the gateway rejects.

Such an object is left out of the gateway alone, and shown; the directory does not know gateways, so
whoever starts the process installs the source.
"""

from typing import Protocol

CONNECTION, COLLECTION, ENDPOINT = "connection", "collection", "endpoint"


class UnpublishedSource(Protocol):
    def reason(self, kind: str, object_id: int) -> str:
        """Why the gateway rejects an object, one sentence; empty if it accepts it.

        `kind` is "connection", "collection" or "endpoint". Lists ask once for each row: the
        source must remember its answers.
        """

    def ids(self, kind: str) -> frozenset[int]:
        """Those of a kind that the gateway rejects."""


class _NoSource:
    def reason(self, kind: str, object_id: int) -> str:
        return ""

    def ids(self, kind: str) -> frozenset[int]:
        return frozenset()


_installed: UnpublishedSource = _NoSource()


def install(source: UnpublishedSource) -> None:
    """Set the process's source; done once, where the process is put together."""
    global _installed
    _installed = source


def reason(kind: str, object_id: int) -> str:
    """Why the gateway rejects an object, one sentence; empty if it accepts it."""
    return _installed.reason(kind, object_id)


def ids(kind: str) -> frozenset[int]:
    """The objects of a kind that the gateway rejects."""
    return _installed.ids(kind)
