"""The process: ready in time whatever is away, asked on its socket, ended by a signal."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connections as databases
from tests.publishing.makers import a_collection, a_connection
from tests.publishing.stand_in import StandIn
from tests.stage import wait_for

from ostiary import settings
from ostiary.directory.changes import feed
from ostiary.directory.models import Collection
from ostiary.gateway.node import Node
from ostiary.gateway.publisher_client import PublisherClient, PublisherSilent
from ostiary.identity.sealing import KeyRing
from ostiary.operations import readiness
from ostiary.telemetry import exposition
from ostiary.telemetry.unix_http import UnixConnection

PROGRAM = """
import socket, sys
from pathlib import Path
import django
django.setup()
from ostiary.gateway.node import Node
from ostiary.identity.sealing import KeyRing
from ostiary.publishing.service import serve
run, ring, number = sys.argv[1:]
serve(
    node=Node(run=Path(run), host="127.0.0.1", port=1),
    keyring=KeyRing.load(Path(ring)),
    sock=socket.socket(fileno=int(number)),
    ready=lambda: print("ready", flush=True),
)
"""


class Process:
    """The publisher as the supervisor starts it: with a socket that listens already."""

    def __init__(self, node: Node, keyring: Path, database: str) -> None:
        path = node.run / "publisher.sock"
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(path))
        sock.listen()
        self.client = PublisherClient(path)
        env = {**os.environ, "OSTIARY_DATABASE_URL": f"sqlite:///{database}"}  # noqa: TID251 - the environment of what it starts
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(node.run), str(keyring), str(sock.fileno())],
            stdout=subprocess.PIPE, pass_fds=[sock.fileno()], text=True, env=env,
        )  # fmt: skip
        sock.close()

    def wait_ready(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def end(self, by: signal.Signals) -> int:
        self._process.send_signal(by)
        status = self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return status

    def close(self) -> None:
        if self._process.poll() is None:
            self.end(signal.SIGKILL)


@pytest.fixture
def process(directory: None, node: Node, keyring: KeyRing) -> Iterator[Process]:
    name = str(databases.settings["default"]["NAME"])
    process = Process(node, settings.current().data / "keyring.json", name)
    yield process
    process.close()


@pytest.mark.slow
def test_it_is_ready_without_a_gateway_and_catches_up(process: Process, node: Node) -> None:
    process.wait_ready()
    connection = a_connection().pk
    assert not process.client.confirm(feed.latest(), 0.2)
    assert process.client.state().troubles
    gateway = StandIn(node.run / "gateway.sock")
    assert process.client.confirm(feed.latest(), 30)
    assert f"u{connection}" in gateway.objects
    wait_for(lambda: process.client.state().published == feed.latest())
    shown = {m.name for m in exposition.read(node.run, "publisher", seconds=5)}
    assert {"ostiary_published_sequence", "ostiary_set_aside_objects"} <= shown
    asked = UnixConnection(node.run / "publisher.sock", seconds=5)
    asked.request("GET", "/alive")
    assert asked.getresponse().status == 200
    asked.close()
    assert process.end(signal.SIGTERM) == 0
    with pytest.raises(PublisherSilent):
        process.client.state()
    assert process.client.reason("connection", connection) == ""
    saved = (node.run / "gateway" / "published.jsonl").read_text()
    assert {line.partition("\t")[0] for line in saved.splitlines()} == set(gateway.objects)
    gateway.stop()


@pytest.mark.slow
def test_readiness_names_what_is_set_aside_and_what_is_down(
    process: Process, node: Node, gateway: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    process.wait_ready()
    monkeypatch.setattr(readiness, "_run", lambda: node.run)
    good = a_collection()
    assert process.client.confirm(feed.latest(), 30)
    wait_for(lambda: readiness.check_publisher().ok)
    assert readiness.check_upstreams().ok
    Collection.objects.filter(pk=good.pk).update(cors_origins=["http://a b"])
    a_connection("http://nobody.invalid")
    unresolved = a_collection(a_connection("http://nowhere.invalid"))
    from tests.publishing.makers import announce

    announce("collection", good.pk)
    assert process.client.confirm(feed.latest(), 30)
    with pytest.raises(readiness.NotReady, match=f"collection {good.pk}"):
        readiness.check_publisher()

    def said() -> str:
        try:
            return readiness.check_upstreams().said
        except readiness.NotReady as error:
            return str(error)

    wait_for(lambda: "nowhere.invalid:80" in said())
    assert f"connection {unresolved.connection_id} is unresolved" in said()
    assert "nobody" not in said()
    gateway.stop()
    later = a_connection()
    with pytest.raises(readiness.NotReady, match=f"change {feed.latest()}"):
        readiness.check_publisher()
    gateway.start()
    assert process.client.confirm(feed.latest(), 30)
    assert f"u{later.pk}" in gateway.objects
