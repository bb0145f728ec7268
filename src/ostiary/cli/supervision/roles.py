"""Which parts make a role, with the sockets each one inherits and how it is asked whether it lives."""

import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ostiary import settings as environment
from ostiary.cli.failure import Failure
from ostiary.cli.startup import data_folder
from ostiary.cli.supervision.probes import Http, LineProbe, ListenAddress, Probe, Workers
from ostiary.cli.supervision.supervisor import Part
from ostiary.settings import INHERITED_PREFIX, Bind, Settings, bind_text

#: They start side by side, and are stopped in reverse order. The collector and the recipes outlive
#: the gateway, which hands over its last counts and ends its last calls. Control ends before
#: it, so that what it is revoking is still confirmed, and it is the gateway's callers who wait least.
ROLES: Mapping[str, tuple[str, ...]] = {
    "up": ("authority", "collector", "recipes", "gateway", "control", "publisher"),
    "control": ("control",),
    "gateway": ("authority", "collector", "gateway", "publisher"),
    "recipes": ("recipes",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Roll:
    """The parts of a start, and the settings with every port known."""

    settings: Settings
    parts: tuple[Part, ...]
    #: The sockets that callers from outside wait at: name → socket. Who keeps them open over a
    #: restart refuses nobody.
    doors: Mapping[str, socket.socket]


#: Sockets that were handed down to us, by their names; who takes one takes it out.
Inherited = dict[str, int]
Make = Callable[[Settings, Inherited], socket.socket | None]


def _stream(name: str) -> Make:
    return lambda settings, _: data_folder.unix_socket(settings.run / name)


def _door(name: str, bind: Callable[[Settings], Bind]) -> Make:
    def make(settings: Settings, inherited: Inherited) -> socket.socket:
        number = inherited.pop(name, None)
        if number is not None:
            return data_folder.adopted_socket(name, number)
        return data_folder.tcp_socket(bind(settings), f"--{name}-bind")

    return make


def _h2c(settings: Settings, inherited: Inherited) -> socket.socket | None:
    number = inherited.pop("h2c", None)
    if number is not None:
        return data_folder.adopted_socket("h2c", number)
    bind = settings.h2c_bind
    return data_folder.tcp_socket(bind, "OSTIARY_GATEWAY_H2C_BIND") if bind else None


#: Part → name of an inherited socket → how it is made.
SOCKETS: Mapping[str, Mapping[str, Make]] = {
    "authority": {
        "upcall": _stream("upcall.sock"),
        "authority": _stream("authority.sock"),
        "oauth": _stream("oauth.sock"),
    },
    "collector": {"log": _stream("log.sock"), "counts": _stream("counts.sock")},
    "recipes": {
        "recipes": _stream("recipes.sock"),
        "recipes_control": _stream("recipes-control.sock"),
    },
    "control": {"control": _door("control", lambda settings: settings.control_bind)},
    "gateway": {
        "gateway": _door("gateway", lambda settings: settings.gateway_bind),
        "h2c": _h2c,
        "gateway_control": _stream("gateway.sock"),
    },
    "publisher": {"publisher": _stream("publisher.sock")},
}

#: Parts that are forked from one process, where a role has several of them. The gateway becomes nginx.
FORKED = frozenset({"authority", "collector", "control", "publisher", "recipes"})

#: Part → parts that are ready before it starts. The publisher and the start of nginx write the same
#: files.
AFTER: Mapping[str, tuple[str, ...]] = {"publisher": ("gateway",)}

DOORS = ("gateway", "h2c", "control", "demo")

#: Part → the inherited socket on which it is asked whether it lives, and how. The demo's upstream
#: stands for somebody else's server.
PROBES: Mapping[str, tuple[str, Callable[[ListenAddress], Probe]]] = {
    "authority": ("authority", lambda at: Http(at=at)),
    "collector": ("counts", lambda at: LineProbe(at=at)),
    "recipes": ("recipes_control", lambda at: Http(at=at)),
    "control": ("control", lambda at: Http(at=at)),
    "gateway": ("gateway_control", lambda at: Workers(http=Http(at=at))),
    "publisher": ("publisher", lambda at: Http(at=at)),
}


def call(
    role: str,
    settings: Settings,
    *,
    demo: socket.socket | None = None,
    inherited: Mapping[str, int] | None = None,
) -> Roll:
    """Bind every socket of the role's parts; raises Failure, with nothing started.

    `inherited` are listening TCP sockets that are open already, taken in place of new ones.
    """
    names, left = list(ROLES[role]), dict(inherited or {})
    opened = {
        name: {
            key: sock
            for key, make in SOCKETS.get(name, {}).items()
            if (sock := make(settings, left)) is not None
        }
        for name in names
    }
    if left:
        raise Failure(
            f"`ostiary {role}` has no use for the socket {min(left)} that was handed down; remove"
            " its socket unit."
        )
    if demo is not None:
        names.insert(0, "demo")
        opened["demo"] = {"demo": demo}
    sockets = {key: sock for made in opened.values() for key, sock in made.items()}
    settings = _with_ports(settings, sockets)
    forked = FORKED.intersection(names)
    return Roll(
        settings=settings,
        parts=tuple(
            _part(name, opened[name], forked=len(forked) > 1 and name in forked) for name in names
        ),
        doors={key: sockets[key] for key in DOORS if key in sockets},
    )


def _with_ports(settings: Settings, sockets: Mapping[str, socket.socket]) -> Settings:
    """Put the addresses in place where the sockets really listen."""
    control, gateway = settings.control_bind, settings.gateway_bind
    if "control" in sockets:
        control = _address(control, sockets["control"])
    if "gateway" in sockets:
        gateway = _address(gateway, sockets["gateway"])
    return environment.adopt(
        OSTIARY_CONTROL_BIND=bind_text(control), OSTIARY_GATEWAY_BIND=bind_text(gateway)
    )


def _address(bind: Bind, sock: socket.socket) -> Bind:
    host, port = sock.getsockname()[:2]
    # The name of that address is what people know it by.
    return (bind[0] if host in data_folder.addresses_of(bind[0]) else host), port


def _part(name: str, sockets: Mapping[str, socket.socket], *, forked: bool) -> Part:
    numbers = {INHERITED_PREFIX + key.upper(): str(s.fileno()) for key, s in sockets.items()}
    return Part(
        name=name,
        # -P: what lies in the folder we were started from is not imported.
        argv=(sys.executable, "-P", "-m", "ostiary.cli.supervision.part", name),
        env=environment.environment(**numbers),
        sockets=tuple(sockets.values()),
        # nginx ends what it has begun on SIGQUIT, and cuts it off on SIGTERM.
        stop_signal=signal.SIGQUIT if name == "gateway" else signal.SIGTERM,
        probe=_probe(name, sockets),
        # nginx does not speak sd_notify.
        ready_by_probe=name == "gateway",
        forked=forked,
        after=AFTER.get(name, ()),
    )


def _probe(name: str, sockets: Mapping[str, socket.socket]) -> Probe | None:
    if name not in PROBES:
        return None
    key, make = PROBES[name]
    return make(ListenAddress.of(sockets[key]))
