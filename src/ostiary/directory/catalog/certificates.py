"""Certificates that an owner pastes, read one by one and encoded again. Knows no database.

Readers of PEM files do not agree on what else may stand in one; so nothing else is stored.
"""

import re
import ssl
from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

LONGEST = 64 * 1024
MOST = 50
#: What is stored matches this.
STORED = re.compile(
    r"(-----BEGIN CERTIFICATE-----\n([A-Za-z0-9+/=]{1,64}\n)+-----END CERTIFICATE-----\n)*"
)

_HALF = "must be whole certificates in PEM form"
_BEGIN, _DASHES = "-----BEGIN ", "-----"


class BadCertificates(ValueError):
    """A text that isn't certificates in PEM form; the message is a sentence without a subject."""


def read(text: str) -> str:
    """The certificates of a PEM text (RFC 7468, section 5), each encoded again; raises BadCertificates.

    What stands outside of blocks is left out, as other readers do.
    """
    if len(text) > LONGEST:
        raise BadCertificates(f"is too long (maximum is {LONGEST} characters)")
    if "PRIVATE KEY-----" in text:
        raise BadCertificates("must not hold a private key; give the certificates alone")
    blocks = list(_blocks(text))
    other = next((label for label, _ in blocks if label != "CERTIFICATE"), None)
    if other is not None:
        raise BadCertificates(f"holds {other[:40]!r}, which isn't a certificate")
    if len(blocks) > MOST:
        raise BadCertificates(f"holds {len(blocks)} certificates; at most {MOST} fit")
    found = dict.fromkeys(
        _encoded(block, place) for place, (_, block) in enumerate(blocks, start=1)
    )
    pem = "".join(found)
    try:
        ssl.create_default_context(cadata=pem)
    except (ssl.SSLError, ValueError):
        raise BadCertificates("holds a certificate that TLS cannot use") from None
    return pem


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """Every block with its label; raises BadCertificates for half a block, and for none at all."""
    place = text.find(_BEGIN)
    outside = text[: max(place, 0)]
    if place < 0:
        raise BadCertificates(_HALF)
    while place >= 0:
        label = text[place + len(_BEGIN) :].partition(_DASHES)[0]
        ending = f"-----END {label}-----"
        end = text.find(ending, place)
        if end < 0:
            raise BadCertificates(_HALF)
        end += len(ending)
        yield label, text[place:end]
        place = text.find(_BEGIN, end)
        outside += text[end : place if place >= 0 else None]
    if _DASHES in outside:
        raise BadCertificates(_HALF)


def _encoded(block: str, place: int) -> str:
    try:
        certificate = x509.load_pem_x509_certificate(block.encode())
    # It warns of what it will refuse one day, such as a serial number below zero.
    except (ValueError, UserWarning):
        raise BadCertificates(f"has a certificate, number {place}, that cannot be read") from None
    return certificate.public_bytes(Encoding.PEM).decode()
