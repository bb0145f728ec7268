"""Which parts make a role, with the sockets each one inherits."""

import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ostiary import settings as environment
from ostiary.cli import folder
from ostiary.cli.supervisor import Part
from ostiary.settings import INHERITED_PREFIX, Settings, bind_text

#: In the order of their starts. The collector is last, so that on the way down it can take the
#: last counts while the gateway still has them; log lines wait in the gateway until it comes.
ROLES: Mapping[str, tuple[str, ...]] = {
    "up": ("authority", "recipes", "control", "gateway", "collector"),
    "control": ("control",),
    "gateway": ("authority", "gateway", "collector"),
    "recipes": ("recipes",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Roll:
    """The parts of a start, and the settings with every port known."""

    settings: Settings
    parts: tuple[Part, ...]


def _stream(name: str) -> Callable[[Settings], socket.socket]:
    return lambda settings: folder.unix_socket(settings.run / name)


def _control(settings: Settings) -> socket.socket:
    return folder.tcp_socket(settings.control_bind, "--control-bind")


#: Part → name of an inherited socket → how it is made.
SOCKETS: Mapping[str, Mapping[str, Callable[[Settings], socket.socket]]] = {
    "authority": {
        "upcall": _stream("upcall.sock"),
        "authority": _stream("authority.sock"),
        "oauth": _stream("oauth.sock"),
    },
    "recipes": {
        "recipes": _stream("recipes.sock"),
        "recipes_control": _stream("recipes-control.sock"),
    },
    "control": {"control": _control},
    "collector": {"log": _stream("log.sock")},
}


def call(role: str, settings: Settings, *, demo: socket.socket | None = None) -> Roll:
    """Bind every socket of the role's parts; raises Failure, with nothing started."""
    names = list(ROLES[role])
    opened = {
        name: {key: make(settings) for key, make in SOCKETS.get(name, {}).items()} for name in names
    }
    if demo is not None:
        names.insert(0, "demo")
        opened["demo"] = {"demo": demo}
    settings = _with_ports(settings, names, opened)
    return Roll(
        settings=settings, parts=tuple(_part(name, settings, opened[name]) for name in names)
    )


def _with_ports(
    settings: Settings, names: list[str], opened: Mapping[str, Mapping[str, socket.socket]]
) -> Settings:
    """Put the ports that the system chose in place of 0; HAProxy's, which binds itself, too."""
    control, gateway = settings.control_bind, settings.gateway_bind
    if "control" in names:
        control = control[0], opened["control"]["control"].getsockname()[1]
    if "gateway" in names:
        gateway = folder.free_bind(gateway, "--gateway-bind")
    return environment.adopt(
        OSTIARY_CONTROL_BIND=bind_text(control), OSTIARY_GATEWAY_BIND=bind_text(gateway)
    )


def _part(name: str, settings: Settings, sockets: Mapping[str, socket.socket]) -> Part:
    numbers = {INHERITED_PREFIX + key.upper(): str(s.fileno()) for key, s in sockets.items()}
    return Part(
        name=name,
        # -P: what lies in the folder we were started from is not imported.
        argv=(sys.executable, "-P", "-m", "ostiary.cli.part", name),
        env=environment.environment(**numbers),
        sockets=tuple(sockets.values()),
        # The collector has the gateway take no more calls, and counts the last ones.
        farewell=signal.SIGUSR1 if name == "collector" else None,
    )
