"""Which credential a call presents: Lua reads what `identity.extraction` reads."""

import ctypes
import ctypes.util
import hashlib
import os
from base64 import b64encode

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.lua.nginx import Machine, Worker

from ostiary.access.reasons import Reason
from ostiary.gateway.contract import FORMS, code
from ostiary.identity import tokens
from ostiary.identity.extraction import Form, Presented, extract
from ostiary.identity.secret import Secret

_CREDENTIALS = Worker(Machine()).require("ostiary.credentials")
_LETTERS = {
    FORMS["token"]: Form.API_TOKEN,
    FORMS["bearer"]: Form.BEARER,
    FORMS["basic"]: Form.BASIC,
}
_REASONS = {
    code(reason): reason
    for reason in (
        Reason.CREDENTIAL_MISSING,
        Reason.CONFLICTING_CREDENTIALS,
        Reason.MALFORMED_CREDENTIAL,
    )
}

_LATIN = st.text(st.characters(max_codepoint=0xFF))
_VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20)


def _basic(pair: str) -> str:
    return b64encode(pair.encode("latin-1")).decode()


_VALUE = st.one_of(
    _LATIN,
    _VISIBLE,
    st.tuples(
        st.sampled_from(
            ["Bearer", "bearer", "BEARER", "Basic", "bASIC", "Digest", "B", "", "Bearer\t"]
        ),
        st.sampled_from([" ", "   ", "", "\t"]),
        st.one_of(
            _LATIN,
            _VISIBLE,
            _LATIN.map(_basic),
            _LATIN.map(lambda text: _basic(f"api-token:{text}")),
            st.tuples(
                st.text("ABCDwxyz0189+/=", max_size=9), st.sampled_from(["", "=", "==", "==="])
            ).map("".join),
        ),
    ).map("".join),
)
_LINES = st.lists(
    st.tuples(st.sampled_from(["API-TOKEN", "Authorization", "authorization", "Host"]), _VALUE),
    max_size=3,
)


def _read(headers: list[tuple[str, str]]) -> Presented | Reason:
    """As `walk` counts the lines, and `read` reads the one."""
    ours = [
        (name.lower(), value.strip(" \t"))
        for name, value in headers
        if name.lower() in {"api-token", "authorization"}
    ]
    name, value = ours[-1] if ours else ("", "")
    form, second = _CREDENTIALS.read(len(ours), value, name == "authorization")
    if form is None:
        return _REASONS[second]
    return Presented(form=_LETTERS[form], credential=Secret(second))


@settings(max_examples=400)
@given(_LINES)
@example([("API-TOKEN", "a\x00b")])
@example([("Authorization", "Basic")])
@example([("Authorization", "Basic ====")])
@example([("Authorization", "Basic " + _basic("api-token:p\x00w"))])
@example([("Authorization", "Bearer a,b")])
def test_a_credential_is_read_as_the_rule_reads_it(headers: list[tuple[str, str]]) -> None:
    assert _read(headers) == extract(headers)


# --- digests and marks, with the OpenSSL that nginx has too ----------------------------------------


@pytest.fixture(scope="module", autouse=True)
def openssl() -> None:
    """LuaJIT finds in nginx what nginx is linked with; here it must be brought."""
    name = ctypes.util.find_library("crypto")
    assert name is not None
    ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)


@given(_LATIN)
def test_a_digest_is_sha_256(text: str) -> None:
    assert _CREDENTIALS.sha256(text) == hashlib.sha256(text.encode("latin-1")).hexdigest()


@given(st.binary(min_size=1, max_size=80), st.integers(0, 64), st.integers(0, 0x7F))
def test_only_tokens_with_the_workspace_s_mark_are_marked(
    key: bytes, place: int, letter: int
) -> None:
    token = tokens.issue_token(key).reveal()
    assert _CREDENTIALS.marked(token, key.decode("latin-1")) is True
    other = token[:place] + chr(letter) + token[place + 1 :]
    marked = other[47:59] == tokens.mark(other[4:47], key)
    assert _CREDENTIALS.marked(other, key.decode("latin-1")) is marked


def test_a_token_of_another_workspace_is_not_marked() -> None:
    token = tokens.issue_token(os.urandom(32)).reveal()
    assert _CREDENTIALS.marked(token, os.urandom(32).decode("latin-1")) is False
