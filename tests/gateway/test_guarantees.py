"""What a revocation rests on in nginx, with an authority that says what a test has it say.

The real nginx and the real Lua, with the configuration that the product renders; the authority, the
publisher and the collector are the test's.
"""

import json
import re
import signal
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.publishing.certificates import a_certificate
from tests.stage import Answer, Upstream, ask, free_port, wait_for

from ostiary.access.decision import LEASE_SECONDS
from ostiary.gateway import control, launch
from ostiary.gateway.contract import Lease, Question, read_question, write_answer
from ostiary.gateway.node import Node

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

TOKEN = "imported-token-of-a-consumer-0001"
COLLECTION, ENDPOINT, CONNECTION, PROFILE = 5, 7, 3, 11


def a_lease(**changes: Any) -> Lease:
    now = int(time.time())
    lease = Lease(
        profile=PROFILE, client=2, project=1, policy=4, collection=COLLECTION, endpoint=ENDPOINT, credential=9,
        sequence=10, expires=now + LEASE_SECONDS, ends=0, method=1, bound=0, would=0, report_only=0,
        legacy_headers=0, rates="", rates_used="", quota=0, quota_starts=0, quota_ends=0,
        quota_used=0, announced="",
    )  # fmt: skip
    return replace(lease, **changes)


class Authority(socketserver.ThreadingUnixStreamServer):
    """Answers upcalls with `says`."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        self.questions: list[Question] = []
        self.says: Callable[[Question], Lease] = lambda _: a_lease()
        authority = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while head := self.rfile.readline():
                    question = read_question(self.rfile.read(int(head)))
                    authority.questions.append(question)
                    answer = write_answer(authority.says(question))
                    self.wfile.write(b"%d\n%s" % (len(answer), answer))

        super().__init__(str(path), Handler)


class Bare:
    """nginx with one collection, connection and endpoint."""

    def __init__(self, node: Node, authority: Authority, upstream: Upstream) -> None:
        self.node, self.authority, self.upstream = node, authority, upstream

    def publish(self, **objects: object) -> None:
        lines = "".join(f"set\t{key}\t{json.dumps(value)}\n" for key, value in objects.items())
        told = control.asked(
            self.node.control_socket, "POST", "/publish", lines.encode(), seconds=10
        )
        assert told["refused"] is None

    def connection(self, port: int) -> dict[str, object]:
        return {
            "id": CONNECTION, "servers": [{"address": "127.0.0.1", "port": port, "down": False}],
            "tls": None, "host": "upstream.example", "base": "", "header": None, "query": "",
            "timeout": 30,
        }  # fmt: skip

    def revoke(self, since: int, until: int, **epochs: int) -> control.Revoked:
        return control.revoke(
            self.node.control_socket, since=since, until=until, epochs=epochs, seconds=10
        )

    def floor(self, sequence: int) -> None:
        control.raise_floor(self.node.control_socket, sequence, seconds=10)

    def call(self) -> Answer:
        return ask(self.node.port, "GET", "/things-v1/things", headers={"API-TOKEN": TOKEN})

    @property
    def seen(self) -> int:
        return len(self.upstream.seen)


def answered(lease: Lease, _: Question) -> Lease:
    return lease


def listening(family: int, address: Any) -> socket.socket:
    sock = socket.socket(family)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(address)
    sock.listen(512)
    return sock


@contextmanager
def nginx(
    folder: Path, upstream: Upstream, change: Callable[[str], str] = lambda text: text
) -> Iterator[Bare]:
    """nginx as the product starts it; `change` is made to the text of its configuration."""
    folder.mkdir(exist_ok=True)
    node = Node(run=folder, host="127.0.0.1", port=free_port(), lease_megabytes=8)
    # What the kernel takes for the name of a Unix socket is short.
    sockets = (
        listening(socket.AF_INET, (node.host, node.port)),
        listening(socket.AF_UNIX, str(node.control_socket)),
    )
    numbers = [sock.fileno() for sock in sockets]
    authority = Authority(folder / "upcall.sock")
    thread = threading.Thread(target=authority.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    command, environment = launch.prepare(node, issue_key=b"k" * 32, sockets=numbers)
    path = folder / "gateway" / "nginx.conf"
    path.write_text(change(path.read_text()))
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "TERM", "--", *command],
        env=environment, pass_fds=numbers, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(lambda: lives(node, process), what="nginx")
        bare = Bare(node, authority, upstream)
        bare.publish(
            **{
                f"u{CONNECTION}": bare.connection(upstream.port),
                f"k{COLLECTION}": {
                    "id": COLLECTION, "handle": "things-v1", "connection": CONNECTION,
                    "recipes": False, "forward_credential": False, "forward_claims": False, "encoded_slashes": False,
                    "origins": [],
                },
                f"e{ENDPOINT}": {
                    "id": ENDPOINT, "collection": COLLECTION, "method": "GET", "path": "/things",
                    "target": "", "timeout": 0, "recipe": None,
                },
            }
        )  # fmt: skip
        yield bare
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        authority.shutdown()
        authority.server_close()
        for sock in sockets:
            sock.close()


def lives(node: Node, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None
    try:
        return bool(control.alive(node.control_socket, seconds=2))
    except control.ControlError:
        return False


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("n")


@pytest.fixture
def bare(short: Path, upstream: Upstream, request: pytest.FixtureRequest) -> Iterator[Bare]:
    with nginx(short / str(abs(hash(request.node.name)) % 10_000), upstream) as bare:
        yield bare


def test_an_answer_that_was_overtaken_by_a_revocation_is_asked_for_again(bare: Bare) -> None:
    def says(_: Question) -> Lease:
        if len(bare.authority.questions) == 1:
            # The profile changes while its first answer is on its way.
            bare.revoke(0, 20, **{f"p{PROFILE}": 20})
            return a_lease(sequence=19)
        return a_lease(sequence=20)

    bare.authority.says = says
    assert bare.call().status == 200
    assert len(bare.authority.questions) == 2


@pytest.mark.parametrize(
    "letter_and_id", [f"p{PROFILE}", "c2", "l4", f"k{COLLECTION}", f"e{ENDPOINT}"]
)
def test_an_answer_from_before_a_change_admits_nothing(bare: Bare, letter_and_id: str) -> None:
    bare.authority.says = lambda _: a_lease(sequence=19)
    assert bare.call().status == 200
    bare.revoke(0, 20, **{letter_and_id: 20})
    before = bare.seen
    assert [bare.call().status for _ in range(5)] == [503] * 5
    assert bare.seen == before


def test_an_answer_from_before_the_start_admits_nothing(bare: Bare) -> None:
    """What was revoked before this nginx started is in no epoch of it: only the floor says so."""
    bare.floor(20)
    before = bare.seen
    bare.authority.says = lambda _: a_lease(sequence=19)
    assert bare.call().status == 503
    assert bare.seen == before
    bare.authority.says = lambda _: a_lease(sequence=20)
    assert bare.call().status == 200
    bare.floor(21)
    assert bare.call().status == 503


def test_epochs_that_find_no_room_void_every_lease_and_none_is_forgotten(
    short: Path, upstream: Upstream
) -> None:
    def tiny(text: str) -> str:
        changed = re.sub(r"lua_shared_dict epochs \d+m", "lua_shared_dict epochs 16k", text)
        assert changed != text
        return changed

    with nginx(short / "full", upstream, tiny) as bare:
        bare.authority.says = lambda _: a_lease(sequence=10)
        assert bare.call().status == 200
        # The profile is revoked; and then so much is that not all of it fits.
        bare.revoke(0, 20, **{f"p{PROFILE}": 20})
        assert bare.call().status == 503
        for start in range(20, 2020, 100):
            bare.revoke(
                start,
                start + 100,
                **{f"p{1000 + n}": start + 100 for n in range(start, start + 100)},
            )
            assert bare.call().status == 503
        # One that changed last, and found no room, is void all the same.
        for profile in (1000 + 21, 1000 + 2019):
            overtaken = a_lease(profile=profile, sequence=19)
            bare.authority.says = partial(answered, overtaken)
            assert bare.call().status == 503
        bare.authority.says = lambda _: a_lease(sequence=2020)
        assert bare.call().status == 200


def test_calls_follow_a_connection_from_the_address_that_nginx_was_started_with(
    bare: Bare, short: Path
) -> None:
    """A block of its own in nginx.conf serves a connection only while it says what is published."""
    other = Upstream()
    folder = short / "moved"
    (folder / "gateway").mkdir(parents=True)
    upstream = bare.upstream
    line = f"u{CONNECTION}\t{json.dumps(bare.connection(upstream.port))}\n"
    (folder / "gateway" / "published.jsonl").write_text(line)
    try:
        with nginx(folder, upstream) as started:
            assert f"upstream c{CONNECTION} " in (folder / "gateway" / "nginx.conf").read_text()
            before = started.seen
            assert started.call().status == 200
            assert started.seen == before + 1
            started.publish(**{f"u{CONNECTION}": started.connection(other.port)})
            for _ in range(10):
                assert started.call().status == 200
            assert (started.seen, len(other.seen)) == (before + 1, 10)
            started.publish(**{f"u{CONNECTION}": started.connection(upstream.port)})
            assert started.call().status == 200
            assert (started.seen, len(other.seen)) == (before + 2, 10)
    finally:
        other.close()


@pytest.mark.parametrize(
    "content", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\xff\x00"]
)
def test_a_damaged_certificate_file_does_not_stop_the_gateway(
    short: Path, upstream: Upstream, content: bytes
) -> None:
    folder = short / f"damaged-{len(content)}"
    (folder / "gateway").mkdir(parents=True)
    damaged = folder / "gateway" / f"authority-{'0' * 16}.pem"
    damaged.write_bytes(content)
    good = folder / "gateway" / f"authority-{'1' * 16}.pem"
    pem, _ = a_certificate("localhost", short)
    good.write_bytes(pem.read_bytes())
    with nginx(folder, upstream) as bare:
        assert bare.call().status == 200
        text = (folder / "gateway" / "nginx.conf").read_text()
        assert (str(damaged) in text, str(good) in text) == (False, True)
    assert not damaged.exists()
