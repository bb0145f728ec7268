"""One part's process, as the supervisor starts it: `python -P -m ostiary.cli.part NAME`."""

import os
import socket
import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from ostiary import logs, tracing
from ostiary import settings as environment
from ostiary.cli import opening, supervisor
from ostiary.cli.failure import Failure
from ostiary.settings import Settings

if TYPE_CHECKING:
    from ostiary.gateway.plan import Node
    from ostiary.identity.sealing import KeyRing


def inherited(name: str) -> socket.socket:
    """The socket that the supervisor handed down as `name`."""
    number = environment.inherited(name)
    if number is None:
        raise Failure(f"The socket {name} was not handed down; parts are started by `ostiary up`.")
    return socket.socket(fileno=number)


def ready_on(settings: Settings, name: str) -> Callable[[], None]:
    """What tells the supervisor that the part is ready."""

    def ready() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"READY=1", str(supervisor.notify_path(settings.run, name)))

    return ready


def _keyring(settings: Settings) -> "KeyRing":
    from ostiary.identity.sealing import KeyRing

    return KeyRing.load(settings.data / opening.KEY_RING)


def _node(settings: Settings) -> "Node":
    from ostiary.gateway.plan import Node

    host, port = settings.gateway_bind
    return Node(
        run=settings.run,
        host=host,
        port=port,
        certificate=settings.certificate,
        log_rate=settings.log_rate,
    )


def run_authority(settings: Settings, ready: Callable[[], None]) -> None:
    opening.set_up_django()
    from ostiary.authority.service import serve

    serve(
        node=_node(settings),
        database=settings.database,
        keyring=_keyring(settings),
        upcall=inherited("upcall"),
        control=inherited("authority"),
        oauth=inherited("oauth"),
        key_set_seconds=settings.key_set_seconds,
        ready=ready,
    )


def run_gateway(settings: Settings, _: Callable[[], None]) -> None:
    """Render what is published now and become HAProxy, which says itself when it is ready."""
    opening.set_up_django()
    from ostiary.gateway import launch

    with opening.sentences():
        try:
            argv = launch.prepare(_node(settings), _keyring(settings))
        except launch.LaunchError as error:
            raise Failure(str(error)) from error
    # Not our environment: it may hold the database's password.
    notify = supervisor.notify_path(settings.run, "gateway")
    os.execve(argv[0], argv, {"PATH": os.defpath, "NOTIFY_SOCKET": str(notify)})  # noqa: S606


def run_collector(settings: Settings, ready: Callable[[], None]) -> None:
    opening.set_up_django()
    service = import_module("ostiary.collector.service")
    service.serve(node=_node(settings), log=inherited("log"), ready=ready)


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
    opening.set_up_django()
    from ostiary.authority.client import SocketConfirmer
    from ostiary.cli.serving import serve
    from ostiary.directory import enforcement
    from ostiary.webhooks import service as webhooks

    enforcement.install(SocketConfirmer(settings.run / "authority.sock"))
    with webhooks.sending():
        serve("ostiary.console.asgi:application", sock=inherited("control"), ready=ready)


def run_demo(_: Settings, ready: Callable[[], None]) -> None:
    from ostiary.cli.demo_upstream import Orders
    from ostiary.cli.serving import serve

    serve(Orders.sample(), sock=inherited("demo"), ready=ready)


PARTS: dict[str, Callable[[Settings, Callable[[], None]], None]] = {
    "authority": run_authority,
    "recipes": run_recipes,
    "demo": run_demo,
    "control": run_control,
    "gateway": run_gateway,
    "collector": run_collector,
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
