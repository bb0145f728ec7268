"""A directory in an SQLite file, since the publisher reads it in threads of its own."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest
from django.core.management import call_command
from django.db import connections
from pytest_django import DjangoDbBlocker
from tests.publishing.stand_in import Running, StandIn

from ostiary import settings
from ostiary.directory.workspace import setup
from ostiary.gateway.node import Node
from ostiary.identity.sealing import KeyRing

#: What the names of tests lead to; tests change it.
Addresses = dict[str, tuple[str, ...]]


class _Elsewhere:
    """Django's database in another file for a while, in all threads."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._before = connections["default"]
        self._name = connections.settings["default"]["NAME"]
        connections.settings["default"]["NAME"] = str(self._path)
        connections["default"] = connections.create_connection("default")

    def __exit__(self, *_: object) -> None:
        connections["default"].close()
        connections.settings["default"]["NAME"] = self._name
        connections["default"] = self._before


@pytest.fixture(scope="session")
def keyring() -> KeyRing:
    data = settings.current().data
    data.mkdir(parents=True, exist_ok=True)
    return KeyRing.load_or_create(data / "keyring.json")


@pytest.fixture(scope="session")
def migrated(
    tmp_path_factory: pytest.TempPathFactory,
    django_db_blocker: DjangoDbBlocker,
    keyring: KeyRing,
) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "directory.sqlite3"
    with django_db_blocker.unblock(), _Elsewhere(path):
        call_command("migrate", verbosity=0)
        setup.ensure()
    return path


@pytest.fixture
def directory(migrated: Path, tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    path = tmp_path / "directory.sqlite3"
    shutil.copyfile(migrated, path)
    with django_db_blocker.unblock(), _Elsewhere(path):
        yield


@pytest.fixture
def node(tmp_path: Path) -> Node:
    run = tmp_path / "run"
    run.mkdir()
    return Node(run=run, host="127.0.0.1", port=1)


@pytest.fixture
def gateway(node: Node) -> Iterator[StandIn]:
    stand_in = StandIn(node.run / "gateway.sock")
    yield stand_in
    stand_in.stop()


@pytest.fixture
def addresses() -> Addresses:
    return {}


class Start(Protocol):
    def __call__(
        self,
        *,
        lookup: Callable[[str], Iterable[str]] | None = None,
        apply: Callable[[Mapping[str, str]], Mapping[str, str]] | None = None,
        binds: Iterable[tuple[str, int]] = (),
    ) -> Running: ...


@pytest.fixture
def start(directory: None, node: Node, keyring: KeyRing, addresses: Addresses) -> Iterator[Start]:
    """Start publishers; all are stopped at the end."""
    started: list[Running] = []

    def known(host: str) -> tuple[str, ...]:
        if host not in addresses:
            raise OSError(f"no name {host}")
        return addresses[host]

    def run(
        *,
        lookup: Callable[[str], Iterable[str]] | None = None,
        apply: Callable[[Mapping[str, str]], Mapping[str, str]] | None = None,
        binds: Iterable[tuple[str, int]] = (),
    ) -> Running:
        running = Running(
            node, keyring, lookup=lookup or known, apply=apply or (lambda _: {}), binds=binds
        )
        started.append(running)
        return running

    yield run
    for running in started:
        running.stop()
