"""One part's process, as the supervisor starts it: `python -P -m ostiary.cli.supervision.part NAME`."""

import os
import socket
import sys
import uuid
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ostiary import __version__
from ostiary import settings as environment
from ostiary.cli.failure import Failure
from ostiary.cli.startup import django_setup, gateway_lock
from ostiary.cli.supervision import supervisor
from ostiary.settings import Settings
from ostiary.telemetry import logs, tracing

if TYPE_CHECKING:
    from ostiary.directory.workspace.nodes import Identity
    from ostiary.gateway.node import Node
    from ostiary.identity.sealing import KeyRing


def inherited(name: str) -> socket.socket:
    """The socket that the supervisor handed down as `name`."""
    return socket.socket(fileno=_number(name))


def ready_on(settings: Settings, name: str) -> Callable[[], None]:
    """The function that reports to the supervisor that the part is ready."""

    def ready() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"READY=1", str(supervisor.notify_path(settings.run, name)))

    return ready


def _number(name: str) -> int:
    """The number of the socket that the supervisor handed down as `name`, for another program."""
    number = environment.inherited(name)
    if number is None:
        raise Failure(f"The socket {name} was not handed down; parts are started by `ostiary up`.")
    return number


def _keyring(settings: Settings) -> "KeyRing":
    from ostiary.identity.sealing import KeyRing

    return KeyRing.load(settings.data / django_setup.KEY_RING)


def _node(settings: Settings) -> "Node":
    from ostiary.gateway.node import Node

    host, port = settings.gateway_bind
    return Node(
        run=settings.run,
        host=host,
        port=port,
        h2c=settings.h2c_bind,
        certificate=settings.certificate,
        proxy_protocol=settings.proxy_protocol,
        fence_seconds=settings.fence_seconds,
        log_rate=settings.log_rate,
        cache_megabytes=settings.cache_megabytes,
        workers=settings.gateway_workers,
        lease_megabytes=settings.lease_megabytes,
        upcalls_per_address=settings.upcalls_per_address,
        connections_per_address=settings.connections_per_address,
        connections_per_profile=settings.connections_per_profile,
        connections_per_project=settings.connections_per_project,
        heads_per_address=settings.heads_per_address,
        shares_limits=bool(settings.redis_url),
    )


def _identity(settings: Settings, role: str) -> "Identity":
    from ostiary.directory.workspace.nodes import Identity

    return Identity(
        name=settings.node,
        role=role,
        instance=uuid.uuid4().hex,
        release=__version__,
        fence_seconds=settings.fence_seconds if role == "gateway" else 0,
    )


def run_authority(settings: Settings, ready: Callable[[], None]) -> None:
    django_setup.set_up_django()
    from ostiary.authority.service import serve
    from ostiary.recipes import control
    from ostiary.recipes.folder_digest import digest

    with gateway_lock.held(gateway_lock.Locks.of(settings)):
        serve(
            node=_node(settings),
            database=settings.database,
            keyring=_keyring(settings),
            upcall=inherited("upcall"),
            control=inherited("authority"),
            oauth=inherited("oauth"),
            key_set_seconds=settings.key_set_seconds,
            ceilings=settings.ceilings,
            identity=_identity(settings, "gateway"),
            alone=not settings.redis_url,
            recipes=lambda: digest(settings.recipes),
            runner=lambda: control.recipes(settings.run / "recipes-control.sock"),
            redis_url=settings.redis_url,
            store_down=settings.store_down,
            ready=ready,
        )


def run_gateway(settings: Settings, _: Callable[[], None]) -> None:
    """Write nginx's files and become it. Without the directory, which may not be there to ask."""
    from ostiary.gateway import launch
    from ostiary.identity.sealing import SealingError

    h2c = (_number("h2c"),) if settings.h2c_bind else ()
    sockets = _number("gateway"), _number("gateway_control"), *h2c
    try:
        argv, env = launch.prepare(
            _node(settings), issue_key=_keyring(settings).issue_key, sockets=sockets
        )
    except (launch.LaunchError, SealingError) as error:
        raise Failure(f"{str(error).rstrip('.')}.") from error
    # Not our environment, which may hold the database's password. nginx logs in its time zone.
    os.execve(argv[0], argv, {"TZ": "UTC", **env})  # noqa: S606 - the same program again, without a shell


def run_publisher(settings: Settings, ready: Callable[[], None]) -> None:
    django_setup.set_up_django()
    service = import_module("ostiary.publishing.service")
    service.serve(
        node=_node(settings),
        keyring=_keyring(settings),
        sock=inherited("publisher"),
        reported_as=settings.node if settings.database.engine == "postgresql" else "",
        ready=ready,
    )


def run_collector(settings: Settings, ready: Callable[[], None]) -> None:
    django_setup.set_up_django()
    service = import_module("ostiary.collector.service")
    service.serve(
        node=_node(settings),
        log=inherited("log"),
        counts=inherited("counts"),
        ready=ready,
        name=settings.node if settings.redis_url else "",
    )


def run_recipes(settings: Settings, ready: Callable[[], None]) -> None:
    runner = import_module("ostiary.recipes.runner")
    runner.serve(
        data=settings.data,
        recipes=settings.recipes,
        run=settings.run,
        calls=inherited("recipes"),
        control=inherited("recipes_control"),
        ready=ready,
    )


def run_control(settings: Settings, ready: Callable[[], None]) -> None:
    django_setup.set_up_django()
    from ostiary import settings_django
    from ostiary.authority.client import GatewayProgress, NodesConfirmer, SocketConfirmer
    from ostiary.cli.serving import certificate
    from ostiary.cli.serving.bounded_bodies import BoundedBodies
    from ostiary.cli.serving.reporting import reporting
    from ostiary.cli.serving.server import Alive, OnlyTls, serve
    from ostiary.configuration import sets
    from ostiary.directory import database
    from ostiary.directory.changes import (
        confirmation,
        gateway_check,
        progress,
        unpublished_objects,
    )
    from ostiary.gateway.launch import CertificateChecker
    from ostiary.gateway.publisher_client import PublisherClient
    from ostiary.webhooks import service as webhooks

    publisher = PublisherClient(settings.run / "publisher.sock")
    database.queue_writers()
    local = SocketConfirmer(settings.run / "authority.sock", publisher)
    several = settings.database.engine == "postgresql"
    confirmation.install(NodesConfirmer(local, settings.node) if several else local)
    unpublished_objects.install(publisher)
    progress.install(
        GatewayProgress(local, publisher, others_than=settings.node if several else None)
    )
    gateway_check.install(CertificateChecker(_node(settings)))
    with webhooks.sending(), sets.watching(), reporting(_identity(settings, "control")):
        application: Any = BoundedBodies(import_module("ostiary.console.asgi").application)
        # Else the first request imports every page and call, for seconds, in the event loop.
        import_module(settings_django.ROOT_URLCONF)
        own = certificate.of(settings)
        if own is not None:
            application = OnlyTls(application)
        serve(Alive(application), sock=inherited("control"), ready=ready, certificate=own)


def run_demo(_: Settings, ready: Callable[[], None]) -> None:
    from ostiary.cli.serving.server import serve
    from ostiary.samples.demo_upstream import Orders

    serve(Orders.sample(), sock=inherited("demo"), ready=ready)


PARTS: dict[str, Callable[[Settings, Callable[[], None]], None]] = {
    "authority": run_authority,
    "recipes": run_recipes,
    "demo": run_demo,
    "control": run_control,
    "gateway": run_gateway,
    "collector": run_collector,
    "publisher": run_publisher,
}


def main(argv: list[str]) -> int:
    """Run the part; the exit status is 0 or, after one sentence, 1."""
    os.umask(0o077)
    name = argv[1]
    settings = environment.current()
    logs.set_up(name, settings.log_format)
    if name != "gateway":
        tracing.set_up(name, settings.otlp_endpoint)
    try:
        PARTS[name](settings, ready_on(settings, name))
    except Failure as failure:
        sys.stderr.write(f"{failure}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
