"""The port through which a value is shown to the gateway itself before it is saved.

The directory does not know gateways; whoever starts the process installs the checker.
"""

from typing import Protocol


class Checker(Protocol):
    def check_certificates(self, pem: str) -> str | None:
        """Why the gateway rejects these certificates, a sentence without a subject; or None."""


class _NoGateway:
    """Without a gateway there is nobody to ask: our own checks stand alone."""

    def check_certificates(self, pem: str) -> str | None:
        return None


_installed: Checker = _NoGateway()


def install(checker: Checker) -> None:
    """Set the process's checker; done once, where the process is put together."""
    global _installed
    _installed = checker


def check_certificates(pem: str) -> str | None:
    """Why the gateway rejects PEM certificates; None if it accepts them."""
    return _installed.check_certificates(pem)
