"""Signing what webhooks are sent, by the Standard Webhooks specification, version 1 (symmetric)."""

import base64
import hashlib
import hmac
from collections.abc import Sequence

from ostiary.identity.secret import Secret

_PREFIX = "whsec_"


def headers(uid: str, at: int, body: bytes, secrets: Sequence[Secret]) -> dict[str, str]:
    """The three headers by which a receiver knows event, time (Unix seconds) and sender."""
    signed = b".".join((uid.encode(), str(at).encode(), body))
    return {
        "webhook-id": uid,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(f"v1,{_signature(signed, secret)}" for secret in secrets),
    }


def _signature(signed: bytes, secret: Secret) -> str:
    key = base64.b64decode(secret.reveal().removeprefix(_PREFIX))
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
