"""Names of upstreams that fail, move and come back, with a name server of ours and real calls."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.nameserver import NXDOMAIN, SERVFAIL, NameServer, wrapping
from tests.operations.scraping import answer
from tests.replanning import Caller
from tests.stage import Stage, free_port, running, wait_for

pytestmark = [pytest.mark.gateway, pytest.mark.slow]


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A caller that goes away is no error of ours."""


class _Six(_Server):
    address_family = socket.AF_INET6


class House:
    """Servers on one port of several loopback addresses; each answers with its own address."""

    def __init__(self) -> None:
        self.port = free_port()
        self._servers: dict[str, ThreadingHTTPServer] = {}

    def open(self, *addresses: str) -> None:
        for address in addresses:

            class Handler(BaseHTTPRequestHandler):
                protocol_version = "HTTP/1.1"
                said = address.encode()

                def log_message(self, *_: Any) -> None: ...

                def do_GET(self) -> None:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(self.said)))
                    self.end_headers()
                    self.wfile.write(self.said)

            kind = _Six if ":" in address else _Server
            server = kind((address, self.port), Handler)
            self._servers[address] = server
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def shut(self, address: str) -> None:
        server = self._servers.pop(address)
        server.shutdown()
        server.server_close()

    def close(self) -> None:
        for address in list(self._servers):
            self.shut(address)


class Street:
    """A product, its name server, and houses whose names it calls."""

    def __init__(self, stage: Stage, server: NameServer, house: House) -> None:
        self.stage, self.server, self.house = stage, server, house

    def move_in(self, name: str, *addresses: str) -> tuple[str, str]:
        """A collection whose upstream has a name: target and token of a call."""
        self.server.addresses[name] = list(addresses)
        url = f"http://{name}:{self.house.port}"
        connection = self.stage.done(
            "POST", "connections", {"name": name, "input": {"base_url": url}}
        )
        collection = self.stage.done(
            "POST", "api_collections", {"name": name, "proxy_connection_id": connection["id"]}
        )
        self.stage.an_endpoint(collection, "GET /who")
        return f"/{collection['handle']}/who", self.stage.a_profile(collection)["secret"]

    def who(self, call: tuple[str, str]) -> str:
        """The address that answers a call; or its status."""
        told = self.stage.call(*call)
        return told.body.decode() if told.status == 200 else str(told.status)

    def looked_up_again(self, *names: str) -> None:
        """Wait until each of them was asked for once more, and answered."""
        before = {name: self.server.asked.count(name) for name in names}
        # Twice, for two families of addresses, and once more: the one before it is over.
        wait_for(
            lambda: all(self.server.asked.count(n) >= before[n] + 3 for n in names),
            what="look-ups",
        )

    def upstreams(self) -> tuple[bool, str]:
        """What `/readyz` says of upstreams."""
        told = answer(self.stage, self.stage.token, "/readyz").json["checks"]["upstreams"]
        return bool(told["ok"]), str(told["state"])


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    folder: Path = tmp_path_factory.mktemp("street")
    with ExitStack() as stack:
        server = stack.enter_context(NameServer())
        before = wrapping(server, folder)
        if not before:
            pytest.skip("a mount namespace of our own is not permitted here")
        house = House()
        stack.callback(house.close)
        house.open("127.9.0.1", "127.9.0.2", "127.9.0.3")
        stage = stack.enter_context(running(folder / "data", before=before))
        yield Street(stage, server, house)


FAILURES = {
    "servfail.example": SERVFAIL, "nxdomain.example": NXDOMAIN, "silent.example": None,
    "empty.example": 0,
}  # fmt: skip


def test_known_addresses_serve_while_names_fail_and_what_comes_back_is_used(
    street: Street,
) -> None:
    calls = {name: street.move_in(name, "127.9.0.1") for name in FAILURES}
    steady = street.move_in("steady.example", "127.9.0.1")
    for call in (*calls.values(), steady):
        assert street.who(call) == "127.9.0.1"
    with ExitStack() as stack:
        callers = [
            stack.enter_context(Caller(street.stage, *call)) for call in (*calls.values(), steady)
        ]
        for name, code in FAILURES.items():
            if code is None:
                street.server.silent.add(name)
            elif code:
                street.server.failing[name] = code
            else:
                street.server.addresses[name] = []
        street.looked_up_again(*FAILURES)
        wait_for(
            lambda: all(name in street.upstreams()[1] for name in FAILURES),
            what="readiness names them",
        )
        ok, said = street.upstreams()
        # Calls pass: it is told, and nobody is to be woken up.
        assert (ok, "steady.example" in said) == (True, False)
        # The publisher and nginx begin anew meanwhile.
        for pid in street.stage.pids("publisher"):
            os.kill(pid, signal.SIGKILL)
        street.looked_up_again("servfail.example", "nxdomain.example")
        assert {status for caller in callers for _, status in caller.calls} == {200}
    for pid in street.stage.pids("gateway"):
        os.kill(pid, signal.SIGKILL)
    for call in calls.values():
        wait_for(lambda: serves(street, call), what="its last address, after a start")  # noqa: B023 - it is asked at once
    # They come back at another address, and are used there.
    street.server.failing.clear()
    street.server.silent.clear()
    for name in FAILURES:
        street.server.addresses[name] = ["127.9.0.2"]
    for call in calls.values():
        wait_for(lambda: street.who(call) == "127.9.0.2", what="its new address")  # noqa: B023 - it is asked at once
    wait_for(lambda: "example" not in street.upstreams()[1], what="all is well")
    assert street.who(steady) == "127.9.0.1"


def serves(street: Street, call: tuple[str, str]) -> bool:
    try:
        return street.who(call) == "127.9.0.1"
    except OSError:
        return False


def test_a_name_that_moves_there_and_back_loses_no_call(street: Street) -> None:
    call = street.move_in("moving.example", "127.9.0.1")
    several = street.move_in("several.example", "127.9.0.1", "127.9.0.2")
    assert street.who(call) == "127.9.0.1"
    with Caller(street.stage, *call) as caller, Caller(street.stage, *several) as other:
        for address in ("127.9.0.3", "127.9.0.1"):
            street.server.addresses["moving.example"] = [address]
            wait_for(lambda: street.who(call) == address, what=address)  # noqa: B023 - it is asked at once
        assert {status for _, status in caller.calls} == {200}
        # Both of several addresses are called.
        assert {street.who(several) for _ in range(20)} == {"127.9.0.1", "127.9.0.2"}
        street.server.addresses["several.example"] = ["127.9.0.2", "127.9.0.3"]
        wait_for(lambda: street.who(several) == "127.9.0.3")
        assert {street.who(several) for _ in range(20)} == {"127.9.0.2", "127.9.0.3"}
        # One of them dies: nobody notices, and it is named.
        street.house.shut("127.9.0.3")
        wait_for(lambda: "several.example" in street.upstreams()[1], what="it is named")
        assert not street.upstreams()[0]
        for _ in range(20):
            assert street.who(several) == "127.9.0.2"
        assert {status for _, status in other.calls} == {200}
        street.house.open("127.9.0.3")
        wait_for(lambda: street.upstreams()[0], what="it is well again")
        wait_for(lambda: street.who(several) == "127.9.0.3", what="it is called again")


def test_a_name_that_is_not_there_yet_is_named_and_used_once_it_is(street: Street) -> None:
    street.server.failing["late.example"] = NXDOMAIN
    call = street.move_in("late.example", "127.9.0.1")
    assert street.who(call) == "503"
    wait_for(lambda: "late.example" in street.upstreams()[1], what="it is named")
    assert not street.upstreams()[0]
    del street.server.failing["late.example"]
    wait_for(lambda: street.who(call) == "127.9.0.1", what="it is used")
    wait_for(lambda: street.upstreams()[0], what="all is well")


def test_addresses_of_the_sixth_version_are_called(street: Street) -> None:
    try:
        street.house.open("::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    call = street.move_in("six.example", "::1")
    assert street.who(call) == "::1"
    both = street.move_in("both.example", "::1", "127.9.0.1")
    wait_for(lambda: street.who(both) == "::1", what="the one address")
    wait_for(lambda: street.who(both) == "127.9.0.1", what="the other address")
