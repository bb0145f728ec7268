"""The port through which API and console learn how far the gateway follows the change feed.

The directory does not know gateways; whoever starts the process installs the source.
"""

from typing import Protocol


class ProgressSource(Protocol):
    def followed(self, least: int) -> int | None:
        """The sequence up to which epochs are in force; None: unknown.

        It may be some seconds old if it reaches `least`. Lists ask once for each row.
        """

    def published(self, least: int) -> int | None:
        """The sequence up to which objects are at the gateway, or set aside; as above."""


class _Unknown:
    def followed(self, least: int) -> int | None:
        return None

    def published(self, least: int) -> int | None:
        return None


_installed: ProgressSource = _Unknown()


def install(source: ProgressSource) -> None:
    """Set the process's source; done once, where the process is put together."""
    global _installed
    _installed = source


def followed(least: int) -> int | None:
    """The sequence up to which clients and profiles are in force; None: unknown."""
    return _installed.followed(least)


def published(least: int) -> int | None:
    """The sequence up to which endpoints and connections are in force; None: unknown."""
    return _installed.published(least)
