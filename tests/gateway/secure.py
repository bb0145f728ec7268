"""A running product whose gateway speaks TLS on one port, and HTTP/2 without it on another."""

from dataclasses import dataclass

from tests.gateway.certificates import Certificate
from tests.stage import Stage


@dataclass(frozen=True, slots=True)
class Secure:
    stage: Stage
    certificate: Certificate
    #: Address of the port without TLS.
    clear: str
