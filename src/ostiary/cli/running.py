"""`ostiary up` and the roles of it for several machines, from claim to clean stop."""

import os
import socket
import sys
from typing import TextIO

from ostiary import logs
from ostiary import settings as environment
from ostiary.cli import addresses, folder, parts, preparation, supervisor
from ostiary.settings import Settings


def run(role: str, settings: Settings, *, demo: bool = False) -> None:
    """Run a role's parts in the foreground until SIGINT or SIGTERM; raises Failure."""
    os.umask(0o077)
    form = settings.log_format or ("text" if sys.stderr.isatty() else "json")
    settings = environment.adopt(OSTIARY_LOG_FORMAT=form)
    logs.set_up("supervisor", form)
    with folder.claimed(settings):
        upstream = demo_socket(settings) if demo or preparation.has_demo(settings) else None
        roll = parts.call(role, settings, demo=upstream)
        shown = preparation.run(
            gateway="gateway" in parts.ROLES[role],
            demo_port=upstream.getsockname()[1] if demo and upstream is not None else None,
        )
        addresses.write(roll.settings)
        # A directory that was in use already did not become a demo.
        wanted = [p for p in roll.parts if p.name != "demo" or preparation.has_demo(settings)]
        supervisor.run(
            wanted,
            folder=settings.run,
            say=print_line,
            write=lambda part, line: print_error(logs.relayed(part, line, form)),
            greeting=shown,
        )


def demo_socket(settings: Settings) -> socket.socket:
    """The demo upstream's socket, always on the port that the demo's connection was made with."""
    port = preparation.demo_port(settings)
    return folder.tcp_socket(("127.0.0.1", port), f"the port in {settings.data}/{preparation.DEMO}")


def print_line(line: str) -> None:
    _print(sys.stdout, line)


def print_error(line: str) -> None:
    _print(sys.stderr, line)


def _print(stream: TextIO, line: str) -> None:
    try:
        stream.write(f"{line}\n")
        stream.flush()
    except OSError:
        # Whoever read it is gone; the parts go on.
        return
