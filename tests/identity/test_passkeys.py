"""Passkeys against an authenticator written here: what proves something, and all that does not."""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2 import cbor
from fido2.cose import ES256
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ostiary.identity import passkeys
from ostiary.identity.passkeys import BadPasskey, PasskeyOwner, Site

SITE = Site(origin="http://localhost:8000")
KEY = ec.generate_private_key(ec.SECP256R1())
ID = b"the id of a key."
PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40
BOTH = PRESENT | VERIFIED
ANN = PasskeyOwner(handle=b"1", name="ann@example.com", shown="Ann")


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def data(flags: int, *, host: str = "localhost", count: int = 7, key: bytes = b"") -> bytes:
    return hashlib.sha256(host.encode()).digest() + bytes([flags]) + count.to_bytes(4, "big") + key


def _answer(state: Mapping[str, Any], kind: str, origin: str, **parts: bytes) -> tuple[str, bytes]:
    told = {"type": kind, "challenge": state["challenge"], "origin": origin}
    client = json.dumps(told).encode()
    response = {name: encoded(part) for name, part in parts.items()}
    content = {
        "id": encoded(ID), "rawId": encoded(ID), "type": "public-key",
        "clientExtensionResults": {},
        "response": {"clientDataJSON": encoded(client), **response},
    }  # fmt: skip
    return json.dumps(content), client


def registration(
    state: Mapping[str, Any], *, origin: str = SITE.origin, host: str = "localhost",
    flags: int = BOTH | ATTESTED, kind: str = "webauthn.create",
) -> str:  # fmt: skip
    cose = cbor.encode(dict(ES256.from_cryptography_key(KEY.public_key())))  # type: ignore[no-untyped-call]
    attested = bytes(16) + len(ID).to_bytes(2, "big") + ID + cose
    content = {"fmt": "none", "attStmt": {}, "authData": data(flags, host=host, key=attested)}
    return _answer(state, kind, origin, attestationObject=cbor.encode(content))[0]


def assertion(
    state: Mapping[str, Any], *, origin: str = SITE.origin, host: str = "localhost",
    flags: int = BOTH, kind: str = "webauthn.get", key: ec.EllipticCurvePrivateKey = KEY,
) -> str:  # fmt: skip
    told = data(flags, host=host)
    _, client = _answer(state, kind, origin)
    signed = key.sign(told + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
    return _answer(state, kind, origin, authenticatorData=told, signature=signed)[0]


def a_passkey() -> bytes:
    state = passkeys.ask_to_register(SITE, ANN, []).state
    made = passkeys.register(SITE, state, registration(state))
    assert (made.id, made.host, made.sign_count) == (ID, "localhost", 7)
    return made.credential


CREDENTIAL = a_passkey()

WRONG: dict[str, dict[str, Any]] = {
    "another origin": {"origin": "http://localhost:9000"},
    "https for http": {"origin": "https://localhost:8000"},
    "a subdomain": {"origin": "http://evil.localhost:8000"},
    "another host": {"host": "evil.example"},
    "nobody present": {"flags": VERIFIED | ATTESTED},
    "another kind": {"kind": "payment.get"},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_what_is_not_for_us_proves_nothing(wrong: dict[str, Any]) -> None:
    asked = passkeys.ask_to_register(SITE, ANN, [])
    with pytest.raises(BadPasskey):
        passkeys.register(SITE, asked.state, registration(asked.state, **wrong))
    wrong = {**wrong, **({"flags": VERIFIED} if "flags" in wrong else {})}
    asked = passkeys.ask(SITE, [CREDENTIAL])
    with pytest.raises(BadPasskey):
        passkeys.verify(SITE, asked.state, CREDENTIAL, assertion(asked.state, **wrong))


def test_an_answer_to_another_question_or_of_another_key_proves_nothing() -> None:
    asked, other = passkeys.ask(SITE, [CREDENTIAL]), passkeys.ask(SITE, [CREDENTIAL])
    answer = assertion(asked.state)
    assert passkeys.id_of(answer) == ID
    assert passkeys.verify(SITE, asked.state, CREDENTIAL, answer) == 7
    stranger = ec.generate_private_key(ec.SECP256R1())
    for state, text in ((other.state, answer), (asked.state, assertion(asked.state, key=stranger))):
        with pytest.raises(BadPasskey):
            passkeys.verify(SITE, state, CREDENTIAL, text)


def test_alone_it_must_verify_its_owner_and_beside_a_password_not() -> None:
    for known, works in (([CREDENTIAL], True), (None, False)):
        asked = passkeys.ask(SITE, known)
        answer = assertion(asked.state, flags=PRESENT)
        if works:
            assert passkeys.verify(SITE, asked.state, CREDENTIAL, answer) == 7
        else:
            with pytest.raises(BadPasskey):
                passkeys.verify(SITE, asked.state, CREDENTIAL, answer)


damage = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(damage=damage, part=st.sampled_from(["attestationObject", "authenticatorData", "signature"]))
def test_a_damaged_answer_is_refused_and_breaks_nothing(
    damage: list[tuple[int, int, int]], part: str
) -> None:
    registering = part == "attestationObject"
    asked = passkeys.ask_to_register(SITE, ANN, []) if registering else passkeys.ask(SITE, [])
    right = registration(asked.state) if registering else assertion(asked.state)
    content = json.loads(right)
    text = content["response"][part]
    raw = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    for kind, place, value in damage:
        at = place % (len(raw) or 1)
        raw[at : at + kind] = bytes([value]) if kind else b""
        if kind == 0:
            del raw[at:]
    content["response"][part] = encoded(bytes(raw))
    try:
        if registering:
            passkeys.register(SITE, asked.state, json.dumps(content))
        else:
            passkeys.verify(SITE, asked.state, CREDENTIAL, json.dumps(content))
    except BadPasskey:
        return
    # Of a registration nobody has signed anything: what is damaged may be the key or the count.
    assert registering or content["response"][part] == text


@pytest.mark.parametrize("raw", [b"\x81" * 5000, b"", b"\xff", b"\xbb" + b"\x7f" * 8])
def test_hostile_cbor_is_refused(raw: bytes) -> None:
    asked = passkeys.ask_to_register(SITE, ANN, [])
    content = json.loads(registration(asked.state))
    content["response"]["attestationObject"] = encoded(raw)
    with pytest.raises(BadPasskey):
        passkeys.register(SITE, asked.state, json.dumps(content))


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{}", '{"rawId": 1}', "[" * 9000, "x" * 40_000, '{"rawId": "\\ud800"}'],
)
def test_what_is_no_answer_is_refused(text: str) -> None:
    asked = passkeys.ask(SITE, None)
    with pytest.raises(BadPasskey):
        passkeys.id_of(text)
    with pytest.raises(BadPasskey):
        passkeys.verify(SITE, asked.state, CREDENTIAL, text)


@pytest.mark.parametrize(
    ("origin", "problem"),
    [
        ("http://localhost:8000", ""),
        ("http://ostiary.localhost", ""),
        ("https://ostiary.example.com", ""),
        ("http://127.0.0.1:8000", "open the console by its name, http://localhost:8000."),
        ("http://[::1]:8000", "open the console by its name, http://localhost:8000."),
        ("https://192.0.2.1", "open the console by its name."),
        ("http://ostiary.example.com", "only where the console is reached over https."),
    ],
)
def test_where_they_cannot_work_is_said_in_a_sentence(origin: str, problem: str) -> None:
    assert Site(origin=origin).problem.endswith(problem)
    assert bool(Site(origin=origin).problem) is bool(problem)
