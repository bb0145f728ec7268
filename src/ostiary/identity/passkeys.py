"""Passkeys (WebAuthn level 3) for the console: where they can work, what is asked, what is proven.

The checks are those of Yubico's `fido2`. The origin must be the console's own, to the letter; no
attestation is asked for, so any authenticator will do.
"""

import ipaddress
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from fido2.server import Fido2Server
from fido2.webauthn import (
    AttestedCredentialData,
    AuthenticationResponse,
    PublicKeyCredentialRpEntity,
    PublicKeyCredentialUserEntity,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

#: The longest answer of an authenticator that is read.
LARGEST = 32 * 1024
#: What reading and checking raise on an answer that is wrong, or no answer at all.
_BROKEN = (
    ValueError, TypeError, LookupError, AttributeError, AssertionError, RecursionError,
    NotImplementedError, struct.error, UnsupportedAlgorithm,
)  # fmt: skip


class BadPasskey(ValueError):
    """A browser's answer that fails verification. The exception does not say why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where the console is, as browsers see it: `https://host` or `http://localhost:8000`."""

    origin: str

    @property
    def host(self) -> str:
        return urlsplit(self.origin).hostname or ""

    @property
    def problem(self) -> str:
        """Why passkeys cannot work there; empty: they can."""
        parts = urlsplit(self.origin)
        if _is_address(self.host):
            port = f":{parts.port}" if parts.port else ""
            elsewhere = f"{parts.scheme}://localhost{port}"
            return "Passkeys do not work at an IP address: open the console by its name" + (
                f", {elsewhere}." if ipaddress.ip_address(self.host).is_loopback else "."
            )
        local = self.host == "localhost" or self.host.endswith(".localhost")
        if parts.scheme != "https" and not local:
            return "Passkeys work only where the console is reached over https."
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PasskeyOwner:
    """Whom a new passkey is for, as the authenticator shows it. `handle`: no personal data."""

    handle: bytes
    name: str
    shown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Passkey:
    """A registered passkey: what is kept of it."""

    id: bytes
    credential: bytes
    host: str
    sign_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PasskeyChallenge:
    """A question: `options` for the browser, `state` to be kept on the server for the answer."""

    options: Mapping[str, Any]
    state: Mapping[str, Any]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _server(site: Site) -> Fido2Server:
    relying = PublicKeyCredentialRpEntity(id=site.host, name="Ostiary")
    return Fido2Server(relying, verify_origin=lambda origin: origin == site.origin)


def ask_to_register(site: Site, person: PasskeyOwner, known: Sequence[bytes]) -> PasskeyChallenge:
    """Challenge to register a passkey, excluding `known`; one with user verification can sign in alone."""
    options, state = _server(site).register_begin(
        PublicKeyCredentialUserEntity(
            id=person.handle, name=person.name, display_name=person.shown
        ),
        credentials=[AttestedCredentialData(each) for each in known],
        resident_key_requirement=ResidentKeyRequirement.PREFERRED,
        user_verification=UserVerificationRequirement.PREFERRED,
    )
    return PasskeyChallenge(options=dict(options), state=state)


def register(site: Site, state: Mapping[str, Any], answer: str) -> Passkey:
    """The passkey that the browser's answer registers; raises BadPasskey."""
    content = _read(answer)
    try:
        data = _server(site).register_complete(state, content)
    except _BROKEN as error:
        raise BadPasskey from error
    attested = data.credential_data
    if attested is None:
        raise BadPasskey
    return Passkey(
        id=attested.credential_id,
        credential=bytes(attested),
        host=site.host,
        sign_count=data.counter,
    )


def ask(site: Site, known: Sequence[bytes] | None) -> PasskeyChallenge:
    """Challenge for one of `known`; without `known`, usernameless sign-in with user verification."""
    verification = UserVerificationRequirement
    options, state = _server(site).authenticate_begin(
        None if known is None else [AttestedCredentialData(each) for each in known],
        user_verification=verification.REQUIRED if known is None else verification.PREFERRED,
    )
    return PasskeyChallenge(options=dict(options), state=state)


def id_of(answer: str) -> bytes:
    """The id of the passkey that answers, not yet verified. Raises BadPasskey."""
    try:
        return AuthenticationResponse.from_dict(_read(answer)).raw_id
    except _BROKEN as error:
        raise BadPasskey from error


def verify(site: Site, state: Mapping[str, Any], credential: bytes, answer: str) -> int:
    """The sign count of a passkey that answers rightly; raises BadPasskey."""
    content = _read(answer)
    try:
        _server(site).authenticate_complete(state, [AttestedCredentialData(credential)], content)
        return AuthenticationResponse.from_dict(content).response.authenticator_data.counter
    except _BROKEN as error:
        raise BadPasskey from error


def _read(answer: str) -> Mapping[str, Any]:
    if len(answer) > LARGEST:
        raise BadPasskey
    try:
        content = json.loads(answer)
    except (ValueError, RecursionError):
        raise BadPasskey from None
    if not isinstance(content, dict):
        raise BadPasskey
    return content
