"""Which credential a call presents: Lua reads what the model reads."""

import ctypes
import ctypes.util
import hashlib
import os
from base64 import b64encode

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.lua.nginx import Machine, Worker
from tests.models.extraction import Form, Presented, extract

from ostiary.access.reasons import Reason
from ostiary.gateway.contract import FORMS, code
from ostiary.identity import tokens
from ostiary.identity.places import NONE, Places, gathered, parse_all
from ostiary.identity.secret import Secret

_WORKER = Worker(Machine())
_CREDENTIALS = _WORKER.require("ostiary.credentials")
_PLACES = _WORKER.require("ostiary.places")
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
_NAMES = [
    "API-TOKEN",
    "Authorization",
    "authorization",
    "Host",
    "X-API-Key",
    "apikey",
    "Sec-WebSocket-Protocol",
]
_OFFERED = st.lists(
    st.sampled_from(["chat", "o.t.abc", "o.t.", "o.t", " o.t.x y", "", "O.T.abc", "o.t.\x80"]),
    max_size=3,
).map(",".join)
_LINES = st.lists(
    st.tuples(st.sampled_from(_NAMES), st.one_of(_VALUE, _OFFERED)),
    max_size=3,
)
_QUERY = st.lists(
    st.sampled_from(
        ["a=1", "key=abc", "key=", "key", "k%65y=%41b", "key=%zz", "key=a%00", "KEY=x", "b", "", "key=a=b+c"]
    ),
    max_size=3,
).map("&".join)  # fmt: skip
_ALLOWED = [
    (),
    ("X-API-Key", "Authorization: ApiKey", "?key"),
    ("apikey", "Authorization", "Authorization: B", "Sec-WebSocket-Protocol: o.t."),
]


def _read(
    headers: list[tuple[str, str]], query: str, allowed: Places, *, leave: bool
) -> Presented | Reason:
    """As `walk` counts the lines, `look_beyond` adds to them, and `read` reads the one."""
    places = _PLACES.compiled(_WORKER.value(allowed.published())) if allowed != NONE else None
    lines = [(name.lower(), value.strip(" \t")) for name, value in headers]
    counted = {"api-token"} | set(allowed.headers) | (set() if leave else {"authorization"})
    ours = [line for line in lines if line[0] in counted]
    count, (name, value) = len(ours), ours[-1] if ours else ("", "")
    where: object = {"api-token": 1, "authorization": 2}.get(name, name)
    if leave and sum(name == "authorization" for name, _ in lines) > 1:
        count = 2
    if places is not None:
        offered = [value for name, value in lines if name == "sec-websocket-protocol"]
        found = list(_PLACES.in_query(places, f"?{query}" if query else "")[0].values())
        header = _WORKER.value(offered) if offered else None
        answer = _PLACES.in_subprotocols(places, header)
        found += list((answer[0] if isinstance(answer, tuple) else answer).values())
        if found:
            count, value, where = count + len(found), found[0], 3
    form, second = _CREDENTIALS.read(count, value, where, places, leave)
    if form is None:
        return _REASONS[second]
    return Presented(form=_LETTERS[form], credential=Secret(second))


@settings(max_examples=800)
@given(_LINES, _QUERY, st.sampled_from(_ALLOWED), st.booleans())
@example([("API-TOKEN", "a\x00b")], "", (), False)
@example([("Authorization", "Basic")], "", (), False)
@example([("Authorization", "Basic ====")], "", (), False)
@example([("Authorization", "Basic " + _basic("api-token:p\x00w"))], "", (), False)
@example([("Authorization", "Bearer a,b")], "", (), False)
@example([("Authorization", "B")], "", _ALLOWED[2], False)
def test_a_credential_is_read_as_the_rule_reads_it(
    headers: list[tuple[str, str]], query: str, allowed: tuple[str, ...], leave: bool
) -> None:
    places = gathered(parse_all(allowed))
    expected = extract(headers, query=query, places=places, leave_authorization=leave)
    assert _read(headers, query, places, leave=leave) == expected


@given(_QUERY, _OFFERED)
def test_what_a_credential_was_in_is_taken_out(query: str, offered: str) -> None:
    places = _PLACES.compiled(
        _WORKER.value(gathered(parse_all(["?key", "Sec-WebSocket-Protocol: o.t."])).published())
    )
    values, rest = _PLACES.in_query(places, f"?{query}")
    kept = [pair for pair in query.split("&") if not pair.startswith(("key", "k%65y"))]
    assert rest == (
        f"?{query}" if not list(values.values()) else "?" + "&".join(kept) if kept else ""
    )
    found = _PLACES.in_subprotocols(places, offered)
    others = [word.strip(" ") for word in offered.split(",")]
    others = [word for word in others if word and not word.startswith("o.t")]
    assert (found[1] or "") == ", ".join(others)


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
