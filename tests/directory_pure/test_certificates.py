"""Of what an owner pastes, certificates alone are stored, each written anew."""

import time
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from ostiary.directory.catalog.certificates import LONGEST, MOST, STORED, BadCertificates, read

KEY = ec.generate_private_key(ec.SECP256R1())
KEY_PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
HALF_A_KEY = "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n"
BROKEN_LIST = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"


@cache
def certificate(name: str = "One") -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject).issuer_name(subject).public_key(KEY.public_key())
        .serial_number(7).not_valid_before(now).not_valid_after(now + timedelta(days=1))
        .sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
    )  # fmt: skip


def body(pem: str) -> str:
    return "".join(pem.splitlines()[1:-1])


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(certificate(), id="as-it-is"),
        pytest.param(certificate().replace("\n", "\r\n"), id="line-ends-of-another-system"),
        pytest.param(f"\n\n  {certificate()}\n", id="blanks-around"),
        pytest.param(f"# A comment\n\u00e4 {certificate()} more\n", id="text-around"),
        pytest.param(certificate() * 3, id="repeated"),
    ],
)
def test_what_is_stored_is_the_certificate_alone(text: str) -> None:
    assert read(text) == certificate()
    assert STORED.fullmatch(certificate())


def test_several_are_stored_in_their_order() -> None:
    assert read(certificate("Two") + "and\n" + certificate()) == certificate("Two") + certificate()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("", "whole certificates", id="nothing"),
        pytest.param("certificates", "whole certificates", id="words"),
        pytest.param(body(certificate()), "whole certificates", id="base64-alone"),
        pytest.param(KEY_PEM, "private key", id="a-key"),
        pytest.param(certificate() + KEY_PEM, "private key", id="with-its-key"),
        pytest.param(certificate() + HALF_A_KEY, "private key", id="with-half-a-key"),
        pytest.param(certificate() + BROKEN_LIST, "X509 CRL", id="with-a-broken-list"),
        pytest.param(
            certificate().replace("CERTIFICATE", "TRUSTED CERTIFICATE"), "TRUSTED", id="trusted"
        ),
        pytest.param(
            certificate().replace("-----END CERTIFICATE-----", ""), "whole", id="without-its-end"
        ),
        pytest.param(
            certificate().replace("-----BEGIN CERTIFICATE-----", ""), "whole", id="without-begin"
        ),
        pytest.param(certificate() + "-----END X-----", "whole", id="an-end-too-many"),
        pytest.param("-----END X-----" + certificate(), "whole", id="an-end-before"),
        pytest.param(certificate() + "-----BEGIN ", "whole", id="a-beginning-too-many"),
        pytest.param(certificate().replace("M", "!", 1), "number 1, that cannot", id="no-base64"),
        pytest.param(
            certificate() + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "number 2, that cannot", id="no-certificate",
        ),
        pytest.param(
            certificate().replace("\n-----END", "\n-----BEGIN CERTIFICATE-----\n-----END"),
            "cannot be read", id="one-within-another",
        ),
        pytest.param(certificate() * (MOST + 1), "at most 50", id="too-many"),
        pytest.param("a" * (LONGEST + 1), "too long", id="too-long"),
        pytest.param(certificate().replace("M", "\ud800", 1), "cannot be read", id="half"),
    ],
)  # fmt: skip
def test_what_else_could_be_pasted_is_refused(text: str, reason: str) -> None:
    with pytest.raises(BadCertificates, match=reason) as caught:
        read(text)
    assert str(caught.value).isprintable()
    assert body(KEY_PEM)[:20] not in str(caught.value)


@given(
    st.lists(
        st.one_of(
            st.sampled_from([certificate(), "-----", "-----BEGIN ", "-----END ", "CERTIFICATE"]),
            st.sampled_from(["\n", HALF_A_KEY, BROKEN_LIST, "\x00", "\u200b", "AAAA"]),
            st.text(max_size=5),
        ),
        max_size=8,
    ).map("".join)
)
def test_whatever_is_pasted_is_refused_or_stored_plain(text: str) -> None:
    try:
        stored = read(text)
    except BadCertificates:
        return
    assert STORED.fullmatch(stored)
    assert read(stored) == stored


def test_many_halves_are_refused_at_once() -> None:
    began = time.perf_counter()
    for half in ("-----BEGIN X-----", "-----BEGIN ", "-----END X-----", "-----BEGIN X-----\n" * 2):
        with pytest.raises(BadCertificates):
            read((half * LONGEST)[:LONGEST])
    # Far more than it takes, and far less than what grows with the square of it.
    assert time.perf_counter() - began < 5
