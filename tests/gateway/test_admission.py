"""Nothing is forwarded that was not admitted, whatever fails on a call's way.

The real nginx and the real Lua, with faults that the tests put into them: `faults.lua` wraps every
function. The product itself has no such switch.
"""

import re
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from tests.gateway.corpus import SMUGGLED, cases
from tests.gateway.recording import Recorder
from tests.gateway.test_guarantees import (
    COLLECTION,
    CONNECTION,
    ENDPOINT,
    PROFILE,
    TOKEN,
    Bare,
    a_lease,
    nginx,
)
from tests.stage import Upstream, ask, wait_for

from ostiary.access.reasons import Reason
from ostiary.gateway import control
from ostiary.gateway.contract import (
    LEASE,
    BadQuestion,
    Lease,
    Question,
    Refusal,
    code,
    read_question,
    write_answer,
)
from ostiary.identity import tokens

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

OTHER_COLLECTION, OTHER_ENDPOINT, OF_ONE_ADDRESS = 6, 8, 12
KEY = b"k" * 32
NATIVE = tokens.issue_token(KEY).reveal()
REVOKED = "imported-token-that-was-revoked-01"
REVOKED_NATIVE = tokens.issue_token(KEY).reveal()
BOUND = "imported-token-for-one-address-001"
EXPIRED = "imported-token-that-ran-out-000001"
#: Credential → the profile whose lease it gets for the first collection.
GOOD = {TOKEN: PROFILE, NATIVE: PROFILE, BOUND: OF_ONE_ADDRESS}
GONE = {REVOKED: 21, REVOKED_NATIVE: 22, EXPIRED: 23}


def refused(reason: Reason) -> Refusal:
    return Refusal(profile=0, bound=0, sequence=0, expires=0, code=code(reason), trace=0)


def decided(question: Question, alive: bool) -> Lease | Refusal:
    """What an authority says; `alive`: what is revoked later is good still."""
    profile = GOOD.get(question.credential) or (alive and GONE.get(question.credential))
    if not profile:
        return refused(Reason.UNKNOWN_CREDENTIAL)
    if question.collection != COLLECTION:
        return refused(Reason.COLLECTION_NOT_GRANTED)
    if question.endpoint != ENDPOINT:
        return refused(Reason.ENDPOINT_NOT_FOUND)
    if question.credential == BOUND and question.address != "127.0.0.1":
        return refused(Reason.ADDRESS_NOT_ALLOWED)
    lease = a_lease(profile=profile, bound=int(question.credential == BOUND))
    if question.credential == EXPIRED:
        return replace(lease, expires=int(time.time()) + 1)
    return lease


class Authority(socketserver.ThreadingUnixStreamServer):
    """Says `says` to each question, as bytes of the whole answer with its frame."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        self.alive = True
        self.says: Callable[[Question], bytes] = self.decide
        #: Whether a connection is kept after an answer.
        self.keeps = True
        authority = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with suppress(OSError, BadQuestion, ValueError):
                    while head := self.rfile.readline():
                        question = read_question(self.rfile.read(int(head)))
                        self.wfile.write(authority.says(question))
                        if not authority.keeps:
                            return

        super().__init__(str(path), Handler)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def decide(self, question: Question) -> bytes:
        return framed(write_answer(decided(question, self.alive)))


def framed(body: bytes) -> bytes:
    return b"%d\n%s" % (len(body), body)


def _tiny(text: str) -> str:
    """The smallest dictionaries that nginx takes, and buffers of 1 KB."""
    text = re.sub(r"lua_shared_dict (\w+) \w+;", _least, text)
    for name, value in (
        ("proxy_buffer_size", "1k"), ("proxy_buffers", "4 1k"),
        ("large_client_header_buffers", "4 1k"),
    ):  # fmt: skip
        text, count = re.subn(rf"{name} [^;]*;", f"{name} {value};", text)
        assert count == 1, name
    return text.replace("server_tokens off;", "server_tokens off;\n  client_header_buffer_size 1k;")


def _least(match: re.Match[str]) -> str:
    # Below 12 KB there is no page; workers cannot start without their state and objects.
    size = "64k" if match[1] in {"state", "objects"} else "12k"
    return f"lua_shared_dict {match[1]} {size};"


def _faulty(text: str) -> str:
    """Wrap every function of the Lua modules, and have a socket that says which fails."""
    here = Path(__file__).parent
    modules = sorted(
        path.stem for path in (here / "../../src/ostiary/gateway/lua/ostiary").glob("*.lua")
    )
    listed = ", ".join(f'"{name}"' for name in modules if name != "control")
    text = text.replace('lua_package_path "', f'lua_package_path "{here}/?.lua;', 1)
    text = text.replace(
        "init_by_lua_block {", 'init_by_lua_block {\n require("faults").before()', 1
    )
    text = text.replace("key:close()", f'key:close() require("faults").install({{ {listed} }})', 1)
    run = re.search(r'upcall_socket = "([^"]+)/upcall\.sock"', text)
    assert run
    # A call that fails between two counts keeps its place; the tests make more than there are.
    text, count = re.subn(r"(upcalls|upcalls_per_address) = \d+", r"\1 = 1000000", text)
    assert count == 2
    server = (
        f'lua_shared_dict faults 64k; server {{ listen "unix:{run[1]}/faults.sock"; location / {{'
        ' content_by_lua_block { require("faults").handle() } } }'
    )
    return text.replace("http {", "http {\n  " + server, 1)


class Door:
    """nginx before a recording upstream, with an authority of the test's."""

    def __init__(self, bare: Bare, authority: Authority, recorder: Recorder) -> None:
        self.bare, self.authority, self.recorder = bare, authority, recorder
        self.port = bare.node.port

    def status(self, credential: str, path: str = "/things-v1/things", *, form: str = "") -> int:
        headers = {"Authorization": f"{form} {credential}"} if form else {"API-TOKEN": credential}
        try:
            return ask(self.port, "GET", path, headers=headers if credential else None).status
        except OSError:
            return 0

    def sent(self, data: bytes) -> bytes:
        """Send bytes, and read until the other side ends or says no more."""
        answer = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as sock:
            with suppress(OSError):
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                while part := sock.recv(65536):
                    answer += part
        return answer

    def fault(self, name: str, how: str) -> None:
        path = self.bare.node.run / "faults.sock"
        quoted = name.replace(":", "%3A")
        status, _ = control.exchange(path, "GET", f"/?on={quoted}&how={how}", seconds=10)
        assert status == 200

    def faults(self) -> list[str]:
        path = self.bare.node.run / "faults.sock"
        return control.exchange(path, "GET", "/", seconds=10)[1].decode().split()

    def warm_up(self) -> None:
        """Have leases of all credentials, in the workers and in shared memory; then revoke some."""
        for credential in (*GOOD, *GONE):
            for form in ("", "Bearer"):
                for _ in range(6):
                    assert self.status(credential, form=form) == 200, (credential, form)
        self.authority.alive = False
        epochs = {f"p{profile}": 20 for profile in GONE.values()}
        done = control.revoke(
            self.bare.node.control_socket, since=0, until=20, epochs=epochs, seconds=10
        )
        assert done.applied == 20

    def unauthorised(self) -> Iterator[tuple[str, bytes]]:
        """Calls that nobody may make."""
        path, token, bearer = "/things-v1/things", "API-TOKEN: ", "Authorization: Bearer "
        for credential in (REVOKED, REVOKED_NATIVE):
            yield "credential", _get(path, token + credential)
            yield "credential", _get(path, bearer + credential)
        for credential in (EXPIRED, "made-up-token-of-nobody-0001", ""):
            yield "credential", _get(path, token + credential)
        yield "path", _get("/other-v1/things", bearer + TOKEN)
        for elsewhere in (
            "/other-v1/things", "/things-v1/secret", "/things-v1/../other-v1/things", "/",
        ):  # fmt: skip
            yield "path", _get(elsewhere, token + NATIVE)
        yield "method", _get(path, f"API-TOKEN: {TOKEN}", method="DELETE")
        yield "two", _get(path, f"API-TOKEN: {TOKEN}", f"API-TOKEN: {NATIVE}")
        yield "two forms", _get(path, f"API-TOKEN: {TOKEN}", f"Authorization: Bearer {TOKEN}")
        yield "nothing", _get(path)
        yield "tunnel", _get(path, "Connection: upgrade", "Upgrade: websocket")


def _get(path: str, *lines: str, method: str = "GET") -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *lines]
    return ("\r\n".join(head) + "\r\n\r\n").encode()


@contextmanager
def door(folder: Path, change: Callable[[str], str]) -> Iterator[Door]:
    recorder = Recorder()
    with nginx(folder, cast("Upstream", recorder), change) as bare:
        # The stand-in that says only leases makes room for one that says anything.
        bare.authority.shutdown()
        bare.authority.server_close()
        path = folder / "upcall.sock"
        path.unlink()
        authority = Authority(path)
        bare.publish(**{
            f"k{OTHER_COLLECTION}": {
                "id": OTHER_COLLECTION, "handle": "other-v1", "connection": CONNECTION,
                "recipes": False, "forward_credential": False, "forward_claims": False, "encoded_slashes": False,
                "origins": [],
            },
            f"e{OTHER_ENDPOINT}": {
                "id": OTHER_ENDPOINT, "collection": OTHER_COLLECTION, "method": "GET",
                "path": "/things", "target": "", "timeout": 0, "recipe": None,
            },
        })  # fmt: skip
        try:
            yield Door(bare, authority, recorder)
        finally:
            authority.shutdown()
            authority.server_close()
            recorder.close()


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with door(tmp_path_factory.mktemp("f"), _faulty) as opened:
        opened.warm_up()
        wait_for(lambda: opened.status(EXPIRED) == 401, what="lease over")
        yield opened


#: What may wait, and then be late.
WAITING = ("upcall", "ngx:tcp", "gateway:ask", "gateway:lease_for")


def test_no_function_that_fails_lets_an_unauthorised_call_through(faulty: Door) -> None:
    calls = list(faulty.unauthorised())
    names = faulty.faults()
    assert len(names) > 150
    for name in ("gateway:decide", "leases.fresh", "epochs.holds", "form.split", "upcall.ask"):
        assert any(name.partition(".")[2] in each for each in names), name
    faulty.recorder.clear()
    for name in names:
        for how in ("error", "nil", "late") if name.startswith(WAITING) else ("error", "nil"):
            faulty.fault(name, how)
            for kind, call in calls:
                answer = faulty.sent(call)
                assert not faulty.recorder.bytes, (name, how, kind, call)
                assert b" 200 " not in answer[:16], (name, how, kind, call)
    faulty.fault("none", "none")
    # And it has lived through all of them.
    assert faulty.status(TOKEN) == 200


def test_what_is_forwarded_under_faults_is_what_was_admitted(faulty: Door) -> None:
    """An error on an admitted call's way ends it; it goes nowhere else."""
    for name in faulty.faults():
        faulty.fault(name, "error")
        faulty.recorder.clear()
        for credential, form in ((TOKEN, ""), (NATIVE, "Bearer"), (BOUND, "")):
            faulty.status(credential, form=form)
        for seen in faulty.recorder.requests():
            assert (seen.method, seen.target) == ("GET", "/things"), name
            assert seen.header("X-Ostiary-Profile") in ([str(PROFILE)], [str(OF_ONE_ADDRESS)])
    faulty.fault("none", "none")


CREDENTIALS = {
    "none": b"",
    "unknown": b"API-TOKEN: made-up-token-of-nobody-0002\r\n",
    "revoked": f"API-TOKEN: {REVOKED}\r\n".encode(),
    "revoked bearer": f"Authorization: Bearer {REVOKED_NATIVE}\r\n".encode(),
    "two": f"API-TOKEN: {TOKEN}\r\nAPI-TOKEN: {TOKEN}\r\n".encode(),
}


@pytest.mark.parametrize("name", CREDENTIALS)
def test_no_hostile_request_passes_without_a_right(faulty: Door, name: str) -> None:
    faulty.fault("none", "none")
    faulty.recorder.clear()
    for case, data in cases(CREDENTIALS[name]):
        faulty.sent(data)
        assert not faulty.recorder.bytes, case


#: Faults of the steps that look at a call before its credential.
STEPS = (
    "form",
    "credentials",
    "routes",
    "patterns",
    "callers",
    "refusals",
    "calls",
    "browsers",
    "ngx",
)


@pytest.mark.parametrize("how", ["error", "nil"])
def test_no_hostile_request_passes_where_a_step_fails(faulty: Door, how: str) -> None:
    requests = [
        data
        for case, data in cases(CREDENTIALS["revoked"])
        if case.startswith(("target", "refused", "upgrade", "host", "GET", "1.0", "next"))
    ]
    faulty.recorder.clear()
    for name in faulty.faults():
        if re.split(r"[.:]", name)[0] not in STEPS:
            continue
        faulty.fault(name, how)
        for data in requests[::3]:
            faulty.sent(data)
        assert not faulty.recorder.bytes, name
    faulty.fault("none", "none")


# --- memory and buffers that are too small ---------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with door(tmp_path_factory.mktemp("t"), _tiny) as opened:
        opened.warm_up()
        wait_for(lambda: opened.status(EXPIRED) == 401, what="lease over")
        yield opened


def test_full_dictionaries_let_nothing_through(tiny: Door) -> None:
    calls = list(tiny.unauthorised())
    since = 20
    for turn in range(12):
        # Leases and refusals of many, then epochs of many.
        for number in range(40):
            tiny.status(f"made-up-token-of-nobody-{turn}-{number}")
        tiny.recorder.clear()
        for kind, call in calls:
            tiny.sent(call)
            assert not tiny.recorder.bytes, (turn, kind, call)
        # 401: among so many made-up ones of one address, one without a lease is not asked about.
        assert tiny.status(TOKEN) in {200, 401, 503}
        until = since + 100
        epochs = {f"p{number}": number for number in range(since + 1, until)}
        epochs |= {f"p{profile}": until for profile in GONE.values()}
        control.revoke(
            tiny.bare.node.control_socket, since=since, until=until, epochs=epochs, seconds=10
        )
        since = until


@pytest.mark.parametrize("name", CREDENTIALS)
def test_no_hostile_request_passes_through_small_buffers(tiny: Door, name: str) -> None:
    tiny.recorder.clear()
    for case, data in cases(CREDENTIALS[name]):
        answer = tiny.sent(data)
        assert not tiny.recorder.bytes, case
        assert SMUGGLED not in answer


# --- an authority that fails ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with door(tmp_path_factory.mktemp("p"), lambda text: text) as opened:
        yield opened


def _lease_words(**changes: Any) -> list[bytes]:
    return write_answer(a_lease(**changes)).split(b"\t")


def _changed(at: int, word: bytes) -> bytes:
    words = _lease_words()
    words[at] = word
    return framed(b"\t".join(words))


_LEASE = write_answer(a_lease())
_FIELDS = len(_lease_words())
#: Fields that hold any text; of a lease without limits, nothing is read of how far they are used.
_FREE = {"rates_used", "announced", "policy_name"}
#: There may be no address lists and no limits.
_MAY_BE_EMPTY = {"address_lists", "rates"}
ANSWERS = {
    "nothing": b"",
    "no frame": b"\n",
    "no length": b"lease\n" + _LEASE,
    "length of zero": b"0\n",
    "negative length": b"-5\n" + _LEASE,
    "length too large": b"99999999\n" + _LEASE,
    "length in hex": b"0x%x\n" % len(_LEASE) + _LEASE,
    "infinite length": b"inf\n" + _LEASE,
    "no number": b"nan\n" + _LEASE,
    "an empty word": framed(b""),
    "its mark alone": framed(b"A"),
    "another mark": framed(b"B" + _LEASE[1:]),
    "a small mark": framed(b"a" + _LEASE[1:]),
    "JSON": framed(b'{"lease": true}'),
    "yes": framed(b"A\tyes"),
    "HTTP": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "NULs": framed(bytes(60)),
    "one field less": framed(b"\t".join(_lease_words()[:-1])),
    "one field more": framed(_LEASE + b"\t1"),
    "a field lost": framed(b"\t".join(_lease_words()[:3] + _lease_words()[4:])),
    "no profile": _changed(1, b"0"),
    "a negative profile": _changed(1, b"-1"),
    "over": framed(write_answer(a_lease(expires=1))),
    "another endpoint": framed(write_answer(a_lease(endpoint=OTHER_ENDPOINT))),
    "another collection": framed(write_answer(a_lease(collection=OTHER_COLLECTION))),
    "void": framed(write_answer(a_lease(sequence=1))),
    "a refusal without fields": framed(b"D"),
    "a refusal of no known reason": framed(b"D\t0\t0\t0\t0\t9999\t0"),
    "a limit that does not read": framed(write_answer(a_lease(rates="many"))),
    "a limit of no known window": framed(write_answer(a_lease(rates="5:7", rates_used="0:0"))),
    "a quota that has no end": framed(write_answer(a_lease(quota=5))),
    **{
        f"field {at} is {word!r}": _changed(at, word)
        for at in range(1, _FIELDS)
        for word in (b"x", b"")
        if LEASE[at - 1] not in _FREE and not (word == b"" and LEASE[at - 1] in _MAY_BE_EMPTY)
    },
}


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("keeps", [True, False], ids=["kept", "closed"])
def test_an_answer_that_is_no_lease_admits_nobody(plain: Door, name: str, keeps: bool) -> None:
    plain.bare.floor(5)
    plain.recorder.clear()
    plain.authority.says, plain.authority.keeps = lambda _: ANSWERS[name], keeps
    credential = f"imported-token-{name.replace(' ', '-')}-{keeps}".encode("ascii", "ignore")
    status = plain.status(re.sub(r"[^a-z0-9-]", "", credential.decode()))
    assert status in {401, 503}
    assert not plain.recorder.bytes
    plain.authority.says, plain.authority.keeps = plain.authority.decide, True


@pytest.mark.parametrize("length", range(0, len(_LEASE) + 3, 7))
def test_an_answer_that_is_cut_admits_nobody(plain: Door, length: int) -> None:
    plain.recorder.clear()
    plain.authority.says = lambda _: framed(_LEASE)[:length]
    plain.authority.keeps = False
    assert plain.status(f"imported-token-cut-after-{length:04}") == 503
    assert not plain.recorder.bytes
    plain.authority.says, plain.authority.keeps = plain.authority.decide, True


def test_what_follows_an_answer_is_nobody_elses(plain: Door) -> None:
    """A connection with something left on it is not used again."""
    plain.authority.says = lambda _: (
        framed(write_answer(refused(Reason.UNKNOWN_CREDENTIAL))) + (framed(_LEASE))
    )
    plain.recorder.clear()
    for number in range(40):
        assert plain.status(f"imported-token-after-another-{number:04}") == 401
    assert not plain.recorder.bytes
    plain.authority.says = plain.authority.decide


def test_an_authority_that_hangs_costs_first_calls_alone(plain: Door) -> None:
    assert plain.status(TOKEN) == 200
    for _ in range(6):
        assert plain.status(TOKEN) == 200
    released = threading.Event()
    plain.recorder.clear()

    def hang(_: Question) -> bytes:
        released.wait(60)
        return framed(_LEASE)

    plain.authority.says = hang
    statuses: list[int] = []
    first = threading.Thread(
        target=lambda: statuses.append(plain.status("imported-token-that-waits-0001"))
    )
    began = time.monotonic()
    first.start()
    assert plain.status(TOKEN) == 200
    first.join()
    assert statuses == [503]
    # An answer that never comes is not waited for: the authority was released by nobody.
    assert time.monotonic() - began < 30
    seen = plain.recorder.requests()
    assert [each.header("X-Ostiary-Profile") for each in seen] == [[str(PROFILE)]]
    released.set()
    plain.authority.says = plain.authority.decide


def test_an_authority_that_dies_while_it_is_asked_admits_nobody(plain: Door) -> None:
    plain.recorder.clear()
    plain.authority.keeps = False
    plain.authority.says = lambda _: b""
    assert plain.status("imported-token-whose-authority-died") == 503
    plain.authority.says = lambda _: b"%d\n" % len(_LEASE)
    assert plain.status("imported-token-whose-authority-died") == 503
    assert not plain.recorder.bytes
    plain.authority.says, plain.authority.keeps = plain.authority.decide, True
