"""The only reader of the environment: reads and checks all settings once, as one value.

Knows no Django and no part. A wrong value is one sentence that says what to do; an unknown
`OSTIARY_…` name is refused, so that a typing error never silently means the default.
"""

import hashlib
import os
import re
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

PREFIX = "OSTIARY_"
#: Set by the supervisor for the parts it starts: numbers of inherited sockets and pipes.
INHERITED_PREFIX = "OSTIARY_FD_"

#: Bytes left for the folder of sockets: a Unix socket's path has at most 107 of them (unix(7)), and
#: this is the longest name below it.
LONGEST_RUN = 107 - len("/recipes-control.sock")

#: Characters of a node's name: counts are stored by it.
LONGEST_NODE = 32

Bind = tuple[str, int]


class SettingsError(ValueError):
    """A setting is invalid; the text is one sentence for the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Where the directory lives: an SQLite file, or a PostgreSQL URL taken apart."""

    engine: str  # "sqlite" or "postgresql"
    name: str
    user: str = ""
    password: str = ""
    host: str = ""
    port: str = ""


#: libpq: a server whose packets are lost is given up after some five seconds, so that no connection
#: waits for TCP's ever longer pauses after the network is whole again. One that only is busy answers TCP.
SERVER_PATIENCE: Mapping[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 3,
    "keepalives_interval": 1,
    "keepalives_count": 2,
    "tcp_user_timeout": 5000,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """Limits on the authority's work, so that one caller's flood leaves room for the others."""

    #: First calls a second of one access profile, and of all profiles of one project.
    upcalls_per_second: int
    upcalls_per_project: int
    #: Distinct leases of one access profile within ten minutes.
    leases_per_profile: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Which Ostiary the command manages, and with which right; empty: not set."""

    url: str
    token: str = field(repr=False)
    token_file: str
    ca: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    data: Path
    database_url: str | None
    recipes: Path
    gateway_bind: Bind
    #: Where the gateway takes HTTP/2 without TLS, for gRPC; None: nowhere.
    h2c_bind: Bind | None
    control_bind: Bind
    certificate: Path | None
    #: The gateway's listener accepts only connections that begin with a PROXY protocol line.
    proxy_protocol: bool
    #: The certificate of the control port; also its key, unless the key has its own file.
    console_certificate: Path | None
    console_key: Path | None
    #: The console as browsers reach it, an origin; empty: as the workspace's settings say.
    console_url: str
    #: Of the built documents, without a slash at the end; empty: nobody serves them.
    docs_url: str
    #: Seconds for which browsers use only https for the console (HSTS); 0: no such header is sent.
    console_hsts_seconds: int
    secure_cookies: bool
    #: How the parts log: `json`, `text`, or empty for text on a terminal and JSON elsewhere.
    log_format: str
    #: Where traces are sent, the whole URL; empty: nowhere.
    otlp_endpoint: str
    #: Seconds after which a provider's keys are fetched again.
    key_set_seconds: int
    #: Seconds between two checks of an SQLite file for damage.
    database_check_seconds: int
    #: Calls a second of a gateway up to which each has a log line.
    log_rate: int
    cache_megabytes: int
    #: What this machine is called among several; see `nodes`.
    node: str
    #: Where gateways that share a database count limits; empty: one gateway counts for itself.
    redis_url: str = field(repr=False)
    #: What a node does with limits while that store is away: see STORE_DOWN.
    store_down: str
    #: Seconds without the change feed after which the gateway honours no lease; 0: it honours them on.
    fence_seconds: int
    #: Worker processes of the gateway.
    gateway_workers: int
    #: Memory for leases, in megabytes; when it is full, those least used are evicted.
    lease_megabytes: int
    #: The most upcalls of one address that may wait in one worker.
    upcalls_per_address: int
    #: First calls a second of one access profile.
    upcalls_per_second: int
    #: First calls a second of all access profiles of one project.
    upcalls_per_project: int
    #: Distinct leases of one access profile within ten minutes.
    leases_per_profile: int
    #: Open calls of one address, profile and project once the gateway is busy.
    connections_per_address: int
    connections_per_profile: int
    connections_per_project: int
    #: The most connections of one address whose head is not complete.
    heads_per_address: int
    #: Of the command as a client of the management API.
    client: Client

    @property
    def ceilings(self) -> Ceilings:
        return Ceilings(
            upcalls_per_second=self.upcalls_per_second,
            upcalls_per_project=self.upcalls_per_project,
            leases_per_profile=self.leases_per_profile,
        )

    @property
    def console_key_file(self) -> Path:
        """The file with the key of the console's certificate."""
        key = self.console_key or self.console_certificate
        return key if key is not None else Path()

    @property
    def run(self) -> Path:
        """The folder of sockets, mode 0700: in the data folder, unless its path is too long."""
        run = self.data / "run"
        if len(os.fsencode(run)) <= LONGEST_RUN:
            return run
        name = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"ostiary-{os.geteuid()}-{name}"

    @property
    def database(self) -> Database:
        if self.database_url is None:
            return Database(engine="sqlite", name=str(self.data / "ostiary.sqlite3"))
        return parse_database(self.database_url)

    def within(self, data: Path) -> "Settings":
        """The same settings with another data folder, and what is derived from it."""
        moved = self.recipes == self.data / "recipes"
        return replace(self, data=data, recipes=data / "recipes" if moved else self.recipes)


def parse_bind(text: str, name: str) -> Bind:
    """Read `HOST:PORT`; an IPv6 host stands in brackets."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit():
        raise SettingsError(f"{name} must be HOST:PORT, such as 127.0.0.1:8080, not {text!r}.")
    if not 0 < int(port) <= 65535:
        raise SettingsError(f"{name}: {port} isn't a port number; use 1 to 65535.")
    return host, int(port)


def bind_text(bind: Bind) -> str:
    """The text that `parse_bind` reads."""
    host, port = bind
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_database(url: str) -> Database:
    """Take a `postgres://user:password@host:port/name` URL apart; `sqlite:///path` works too."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite" and parts.path:
        return Database(engine="sqlite", name=unquote(parts.path))
    name = unquote(parts.path.removeprefix("/"))
    if parts.scheme not in ("postgres", "postgresql") or not name:
        # Not repeated: it holds a password.
        raise SettingsError(
            "OSTIARY_DATABASE_URL must be postgres://USER:PASSWORD@HOST:PORT/NAME, "
            "or unset for SQLite in the data folder."
        )
    query = dict(pair.partition("=")[::2] for pair in parts.query.split("&") if pair)
    return Database(
        engine="postgresql",
        name=name,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        host=unquote(parts.hostname or query.get("host", "")),
        port=str(parts.port or ""),
    )


def _flag(name: str, text: str) -> bool:
    if text not in ("0", "1"):
        raise SettingsError(f"{name} must be 0 or 1, not {text!r}.")
    return text == "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSetting:
    """A setting that is text: its form, its default, and what it means."""

    form: str
    default: str = ""
    #: What applies without a value, if there is no fixed default.
    unset: str = "none"
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A setting that is a whole number: its default, its range, and what it means."""

    default: int
    least: int = 1
    most: int
    meaning: str


TEXTS: Mapping[str, TextSetting] = {
    "OSTIARY_DATA": TextSetting(
        form="path",
        default="ostiary-data",
        meaning="The data folder. The option `--data` goes before it.",
    ),
    "OSTIARY_DATABASE_URL": TextSetting(
        form="`postgres://USER:PASSWORD@HOST:PORT/NAME` or `sqlite:///PATH`",
        unset="SQLite in the data folder",
        meaning="The database of the directory, usage and logs.",
    ),
    "OSTIARY_RECIPES": TextSetting(
        form="path",
        unset="`recipes` in the data folder",
        meaning="The folder of recipes. The option `--recipes` goes before it.",
    ),
    "OSTIARY_GATEWAY_BIND": TextSetting(
        form="HOST:PORT",
        default="127.0.0.1:8080",
        meaning=(
            "The address on which the gateway takes consumers' calls. An IPv6 host stands in brackets. "
            "The option `--gateway-bind` goes before it."
        ),
    ),
    "OSTIARY_GATEWAY_H2C_BIND": TextSetting(
        form="HOST:PORT",
        meaning=(
            "A second port of the gateway for HTTP/2 without TLS, as callers of gRPC use it. "
            "It takes no PROXY protocol."
        ),
    ),
    "OSTIARY_CONTROL_BIND": TextSetting(
        form="HOST:PORT",
        default="127.0.0.1:8000",
        meaning=(
            "The address of the console and the management API. "
            "The option `--control-bind` goes before it."
        ),
    ),
    "OSTIARY_CERTIFICATE": TextSetting(
        form="path",
        meaning=(
            "A PEM file with certificate and key. With it the gateway speaks TLS 1.2, TLS 1.3 and HTTP/2."
        ),
    ),
    "OSTIARY_PROXY_PROTOCOL": TextSetting(
        form="`0` or `1`",
        default="0",
        meaning=(
            "`1`: the gateway takes only connections that begin with a line of the PROXY protocol."
        ),
    ),
    "OSTIARY_CONSOLE_CERTIFICATE": TextSetting(
        form="path",
        meaning=(
            "A PEM file with the console's certificate. With it the control port speaks TLS 1.2 and 1.3."
        ),
    ),
    "OSTIARY_CONSOLE_KEY": TextSetting(
        form="path",
        unset="in the certificate's file",
        meaning="A PEM file with the key of the console's certificate.",
    ),
    "OSTIARY_CONSOLE_URL": TextSetting(
        form="http or https URL without path",
        unset="as the workspace's settings say",
        meaning=(
            "The public URL of the console, where browsers reach it. "
            "It goes before the one in the workspace's settings."
        ),
    ),
    "OSTIARY_DOCS_URL": TextSetting(
        form="http or https URL",
        unset="no links",
        meaning=(
            "Where you serve the documents that `make docs` builds. "
            "Each page of the console then links to the one that describes it."
        ),
    ),
    "OSTIARY_SECURE_COOKIES": TextSetting(
        form="`0` or `1`",
        default="0",
        meaning=(
            "`1`: browsers send the console's cookies over https only, even if its public URL isn't https."
        ),
    ),
    "OSTIARY_NODE": TextSetting(
        form="1 to 32 letters, digits, `.`, `_` or `-`",
        unset="the host's name, shortened",
        meaning="The name of this machine's node; no two gateways of one database may share it.",
    ),
    "OSTIARY_REDIS_URL": TextSetting(
        form="`redis://`, `rediss://` or `unix://` URL",
        unset="one gateway, which counts limits for itself",
        meaning=(
            "The Valkey or Redis in which several gateways of one PostgreSQL database count limits."
        ),
    ),
    "OSTIARY_DATABASE_URL_FILE": TextSetting(
        form="path",
        meaning="A file with what `OSTIARY_DATABASE_URL` would say, such as a container's secret.",
    ),
    "OSTIARY_REDIS_URL_FILE": TextSetting(
        form="path",
        meaning="A file with what `OSTIARY_REDIS_URL` would say, such as a container's secret.",
    ),
    "OSTIARY_STORE_DOWN": TextSetting(
        form="`share` or `refuse`",
        default="share",
        meaning=(
            "What a gateway does with limited calls while the store of `OSTIARY_REDIS_URL` does not answer: "
            "admit its share of each limit, or refuse them (503)."
        ),
    ),
    "OSTIARY_FENCE_SECONDS": TextSetting(
        form="0, or 2 to 600",
        unset="5 with `OSTIARY_REDIS_URL`, else 0",
        meaning=(
            "Seconds without the change feed after which a gateway admits calls only by new decisions. "
            "0: it goes on by those that it has, for up to ten minutes."
        ),
    ),
    "OSTIARY_LOG_FORMAT": TextSetting(
        form="`json` or `text`",
        unset="`text` on a terminal, else `json`",
        meaning="The form of the log on standard error.",
    ),
    "OSTIARY_OTLP_ENDPOINT": TextSetting(
        form="http or https URL",
        meaning="Where OpenTelemetry traces are sent (OTLP over HTTP).",
    ),
}

NUMBERS: Mapping[str, Number] = {
    # Two years, as the browsers' preload list recommends.
    "OSTIARY_CONSOLE_HSTS_SECONDS": Number(
        default=0,
        least=0,
        most=63_072_000,
        meaning=(
            "Seconds for which browsers use only https for the console's host name, on every port "
            "(`Strict-Transport-Security`). 0 does not send the header."
        ),
    ),
    "OSTIARY_KEY_SET_SECONDS": Number(
        default=300,
        most=10_000_000,
        meaning="Seconds after which the keys of OpenID providers are fetched again.",
    ),
    "OSTIARY_DATABASE_CHECK_SECONDS": Number(
        default=6 * 3600,
        most=10_000_000,
        meaning=(
            "Seconds after which the SQLite file is looked through for damage again, while somebody asks "
            "for `/readyz`. A file above 4 GB is not. PostgreSQL sees to its own files."
        ),
    ),
    "OSTIARY_LOG_RATE": Number(
        default=1000,
        most=10_000_000,
        meaning=(
            "Calls a second up to which each call has a line in the request log. Above it, one of 16 "
            "successful calls (2xx, 3xx) has one, which stands for 16. Refusals and errors always have "
            "one. Counts do not depend on it."
        ),
    ),
    "OSTIARY_CACHE_MEGABYTES": Number(
        default=256,
        most=1_000_000,
        meaning="Megabytes on the disk for cached answers (`run/gateway/answers` in the data folder).",
    ),
    "OSTIARY_GATEWAY_WORKERS": Number(
        default=2,
        most=64,
        meaning="Worker processes of nginx: one for each processor core that the gateway may use.",
    ),
    # Below 16 MB a few thousand callers would evict each other's leases all the time.
    "OSTIARY_LEASE_MEGABYTES": Number(
        default=256,
        least=16,
        most=65_536,
        meaning="Megabytes of memory for leases; about 2,000 leases each.",
    ),
    "OSTIARY_UPCALLS_PER_ADDRESS": Number(
        default=16,
        most=10_000,
        meaning="Upcalls in flight of one address in one worker; 64 more calls wait up to a second.",
    ),
    "OSTIARY_UPCALLS_PER_SECOND": Number(
        default=500,
        most=10_000_000,
        meaning="First calls a second of one access profile.",
    ),
    "OSTIARY_UPCALLS_PER_PROJECT": Number(
        default=2000,
        most=10_000_000,
        meaning="First calls a second of all access profiles of one project.",
    ),
    "OSTIARY_LEASES_PER_PROFILE": Number(
        default=20_000,
        most=10_000_000,
        meaning=("Leases of one access profile within ten minutes; those above it live 5 seconds."),
    ),
    "OSTIARY_CONNECTIONS_PER_ADDRESS": Number(
        default=1024,
        most=10_000_000,
        meaning="Open calls of one address, shared out among the workers.",
    ),
    "OSTIARY_CONNECTIONS_PER_PROFILE": Number(
        default=8192,
        most=10_000_000,
        meaning="Open calls of one access profile, streams too.",
    ),
    "OSTIARY_CONNECTIONS_PER_PROJECT": Number(
        default=16_384,
        most=10_000_000,
        meaning="Open calls of all access profiles of one project.",
    ),
    "OSTIARY_HEADS_PER_ADDRESS": Number(
        default=256,
        most=10_000_000,
        meaning="Half-sent heads, TLS handshakes and HTTP/2 connections without a call of one address, shared out among the workers.",
    ),
}

#: Of the command as a client of the management API; the parts do not get them.
CLIENT: Mapping[str, TextSetting] = {
    "OSTIARY_URL": TextSetting(
        form="http or https URL",
        unset="the Ostiary of the data folder",
        meaning="The console's URL. The option `--url` goes before it.",
    ),
    "OSTIARY_TOKEN_FILE": TextSetting(
        form="path",
        meaning="A file with a management token. The option `--token-file` goes before it.",
    ),
    "OSTIARY_TOKEN": TextSetting(
        form="management token", meaning="The token itself, where no file is named."
    ),
    "OSTIARY_CA": TextSetting(
        form="path",
        unset="the system's",
        meaning="A PEM file with the certificates to trust. The option `--ca` goes before it.",
    ),
}

NAMES = frozenset({*TEXTS, *NUMBERS, *CLIENT})


def _text(name: str, value: Mapping[str, str]) -> str:
    return value.get(name, TEXTS[name].default)


def _number(name: str, value: Mapping[str, str]) -> int:
    limits, text = NUMBERS[name], value.get(name)
    if text is None:
        return limits.default
    # Nine digits are enough, and a text of thousands would be slow to read.
    if text.isascii() and text.isdigit() and len(text) < 10:
        number = int(text)
        if limits.least <= number <= limits.most:
            return number
    raise SettingsError(
        f"{name} must be a number from {limits.least} to {limits.most}, not {text[:40]!r}."
    )


def _choice(name: str, text: str) -> str:
    if text not in {"", "json", "text"}:
        raise SettingsError(f"{name} must be json or text, not {text!r}.")
    return text


def _host() -> str:
    """The host's name as a node's; a digest tells long ones that begin alike from each other."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()) or "node"
    if len(name) <= LONGEST_NODE:
        return name
    return f"{name[: LONGEST_NODE - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _node(text: str) -> str:
    if not re.fullmatch(rf"[A-Za-z0-9._-]{{1,{LONGEST_NODE}}}", text):
        raise SettingsError(
            f"OSTIARY_NODE must have 1 to 32 letters, digits, dots, underscores or hyphens, not {text[:80]!r}."
        )
    return text


#: A node's ways to go on with limits while the store is away: its share of each, or no limited call.
STORE_DOWN = ("share", "refuse")


def _store_down(text: str) -> str:
    if text not in STORE_DOWN:
        raise SettingsError(f"OSTIARY_STORE_DOWN must be share or refuse, not {text[:40]!r}.")
    return text


def _redis(text: str) -> str:
    """The URL of a Valkey or Redis; empty stays empty."""
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        number = parts.path.removeprefix("/")
        if parts.scheme == "unix":
            usable = bool(number)
        else:
            numbered = not number or (number.isascii() and number.isdigit())
            usable = parts.scheme in {"redis", "rediss"} and bool(parts.hostname) and numbered
            usable = usable and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        # Not repeated: it may hold a password.
        raise SettingsError(
            "OSTIARY_REDIS_URL must be a URL such as redis://:PASSWORD@127.0.0.1:6379/0."
        )
    return text


def _fence(text: str) -> int:
    if (
        text.isascii()
        and text.isdigit()
        and len(text) < 4
        and (text == "0" or 2 <= int(text) <= 600)
    ):
        return int(text)
    raise SettingsError(f"OSTIARY_FENCE_SECONDS must be 0, or 2 to 600, not {text[:40]!r}.")


_ORIGIN = re.compile(
    r"(https?)://([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(:[0-9]{1,5})?/?"
)
_USUAL_PORTS = {"http": ":80", "https": ":443"}


def _origin(name: str, text: str) -> str:
    """An origin in the form that browsers send; empty stays empty."""
    if not text:
        return ""
    match = _ORIGIN.fullmatch(text.lower())
    port = match[4] or "" if match else ""
    if match is None or (port and not 0 < int(port[1:]) <= 65535):
        raise SettingsError(
            f"{name} must be an http or https URL without path, such as https://ostiary.example.com,"
            f" not {text[:100]!r}."
        )
    port = f":{int(port[1:])}" if port else ""
    return f"{match[1]}://{match[2]}{'' if port == _USUAL_PORTS[match[1]] else port}"


def _is_base(text: str) -> bool:
    """Whether paths can be added to a URL: no query, no fragment, no password."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return usable and not (parts.query or parts.fragment or "@" in parts.netloc)


def _base(name: str, text: str) -> str:
    """A URL that paths are added to, without a slash at its end; empty stays empty."""
    if not text:
        return ""
    if not _is_base(text):
        raise SettingsError(
            f"{name} must be an http or https URL, such as https://docs.example.com/ostiary,"
            f" not {text[:100]!r}."
        )
    return text.rstrip("/")


#: Where an OTLP receiver takes traces (OTLP/HTTP specification).
TRACES_PATH = "/v1/traces"


def _endpoint(name: str, text: str) -> str:
    if not text:
        return ""
    if not _is_base(text):
        # Not repeated: it may hold a password.
        raise SettingsError(f"{name} must be a URL such as http://127.0.0.1:4318.")
    base = text.rstrip("/")
    return base if base.endswith(TRACES_PATH) else base + TRACES_PATH


#: Settings with a password, which may come from a file.
FROM_FILES = ("OSTIARY_DATABASE_URL", "OSTIARY_REDIS_URL")


def _with_files(value: Mapping[str, str]) -> dict[str, str]:
    """The settings, and those that files hold."""
    read = {}
    for name in FROM_FILES:
        path = value.get(f"{name}_FILE")
        if not path:
            continue
        if name in value:
            raise SettingsError(f"{name} and {name}_FILE are both set; unset one of them.")
        try:
            text = Path(path).read_text().strip()
        except (OSError, ValueError) as error:
            said = getattr(error, "strerror", None) or "it is not a text file"
            raise SettingsError(f"{name}_FILE: {path} cannot be read: {said.lower()}.") from error
        if not text:
            raise SettingsError(f"{name}_FILE: {path} is empty.")
        read[name] = text
    return {**value, **read}


def load(environ: Mapping[str, str]) -> Settings:
    """Read every setting from `environ`; raises SettingsError with one sentence."""
    unknown = sorted(
        name
        for name in environ
        if name.startswith(PREFIX) and name not in NAMES and not name.startswith(INHERITED_PREFIX)
    )
    if unknown:
        raise SettingsError(f"There is no setting {unknown[0]}; unset it, or correct its name.")
    value = _with_files({name: environ[name] for name in NAMES if environ.get(name)})
    data = Path(_text("OSTIARY_DATA", value)).absolute()
    recipes = value.get("OSTIARY_RECIPES")
    certificate = value.get("OSTIARY_CERTIFICATE")
    console_certificate = value.get("OSTIARY_CONSOLE_CERTIFICATE")
    console_key = value.get("OSTIARY_CONSOLE_KEY")
    if console_key and not console_certificate:
        raise SettingsError("OSTIARY_CONSOLE_KEY needs OSTIARY_CONSOLE_CERTIFICATE; set both.")
    h2c = value.get("OSTIARY_GATEWAY_H2C_BIND")
    url = value.get("OSTIARY_DATABASE_URL")
    if url is not None:
        parse_database(url)
    return Settings(
        data=data,
        database_url=url,
        recipes=Path(recipes).absolute() if recipes else data / "recipes",
        gateway_bind=parse_bind(_text("OSTIARY_GATEWAY_BIND", value), "OSTIARY_GATEWAY_BIND"),
        h2c_bind=parse_bind(h2c, "OSTIARY_GATEWAY_H2C_BIND") if h2c else None,
        control_bind=parse_bind(_text("OSTIARY_CONTROL_BIND", value), "OSTIARY_CONTROL_BIND"),
        certificate=Path(certificate).absolute() if certificate else None,
        proxy_protocol=_flag("OSTIARY_PROXY_PROTOCOL", _text("OSTIARY_PROXY_PROTOCOL", value)),
        console_certificate=Path(console_certificate).absolute() if console_certificate else None,
        console_key=Path(console_key).absolute() if console_key else None,
        console_url=_origin("OSTIARY_CONSOLE_URL", _text("OSTIARY_CONSOLE_URL", value)),
        docs_url=_base("OSTIARY_DOCS_URL", _text("OSTIARY_DOCS_URL", value)),
        console_hsts_seconds=_number("OSTIARY_CONSOLE_HSTS_SECONDS", value),
        secure_cookies=_flag("OSTIARY_SECURE_COOKIES", _text("OSTIARY_SECURE_COOKIES", value)),
        key_set_seconds=_number("OSTIARY_KEY_SET_SECONDS", value),
        database_check_seconds=_number("OSTIARY_DATABASE_CHECK_SECONDS", value),
        log_rate=_number("OSTIARY_LOG_RATE", value),
        cache_megabytes=_number("OSTIARY_CACHE_MEGABYTES", value),
        node=_node(_text("OSTIARY_NODE", value) or _host()),
        redis_url=_redis(value.get("OSTIARY_REDIS_URL", "")),
        store_down=_store_down(_text("OSTIARY_STORE_DOWN", value)),
        fence_seconds=_fence(
            _text("OSTIARY_FENCE_SECONDS", value)
            or ("5" if value.get("OSTIARY_REDIS_URL") else "0")
        ),
        gateway_workers=_number("OSTIARY_GATEWAY_WORKERS", value),
        lease_megabytes=_number("OSTIARY_LEASE_MEGABYTES", value),
        upcalls_per_address=_number("OSTIARY_UPCALLS_PER_ADDRESS", value),
        upcalls_per_second=_number("OSTIARY_UPCALLS_PER_SECOND", value),
        upcalls_per_project=_number("OSTIARY_UPCALLS_PER_PROJECT", value),
        leases_per_profile=_number("OSTIARY_LEASES_PER_PROFILE", value),
        connections_per_address=_number("OSTIARY_CONNECTIONS_PER_ADDRESS", value),
        connections_per_profile=_number("OSTIARY_CONNECTIONS_PER_PROFILE", value),
        connections_per_project=_number("OSTIARY_CONNECTIONS_PER_PROJECT", value),
        heads_per_address=_number("OSTIARY_HEADS_PER_ADDRESS", value),
        log_format=_choice("OSTIARY_LOG_FORMAT", _text("OSTIARY_LOG_FORMAT", value)),
        otlp_endpoint=_endpoint("OSTIARY_OTLP_ENDPOINT", _text("OSTIARY_OTLP_ENDPOINT", value)),
        client=Client(
            url=value.get("OSTIARY_URL", "").rstrip("/"),
            token=value.get("OSTIARY_TOKEN", ""),
            token_file=value.get("OSTIARY_TOKEN_FILE", ""),
            ca=value.get("OSTIARY_CA", ""),
        ),
    )


@cache
def current() -> Settings:
    """The settings of this process, read once."""
    return load(os.environ)  # noqa: TID251 - the one reader


def adopt(**changes: str) -> Settings:
    """Change the process's environment, as options on the command line do, and read it again."""
    os.environ.update(changes)  # noqa: TID251 - the one reader
    current.cache_clear()
    return current()


def inherited(name: str) -> int | None:
    """The number of an inherited socket or pipe that the supervisor named `name`."""
    text = os.environ.get(INHERITED_PREFIX + name.upper())  # noqa: TID251 - the one reader
    return int(text) if text else None


def take_inherited() -> dict[str, int]:
    """Every socket that this process was started with: name → number.

    From our own restart (`OSTIARY_FD_…`), or from systemd, which tells their names in LISTEN_FDNAMES
    (sd_listen_fds(3)). The variables are removed, so that no part takes the numbers for its own.
    Raises SettingsError.
    """
    variables = os.environ  # noqa: TID251 - the one reader
    sockets = _activated(variables)
    for name in [name for name in variables if name.startswith(INHERITED_PREFIX)]:
        text = variables.pop(name)
        if text.isascii() and text.isdigit():
            sockets[name.removeprefix(INHERITED_PREFIX).lower()] = int(text)
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        variables.pop(name, None)
    return sockets


#: The number of the first socket that systemd hands down; the others follow it.
FIRST_ACTIVATED = 3
#: What a socket unit may name its socket (FileDescriptorName=).
ACTIVATED = frozenset({"gateway", "control"})


def _activated(variables: Mapping[str, str]) -> dict[str, int]:
    count = variables.get("LISTEN_FDS", "")
    if variables.get("LISTEN_PID") != str(os.getpid()) or not count.isdigit() or not int(count):
        # None, or meant for another process.
        return {}
    names = variables.get("LISTEN_FDNAMES", "").split(":")
    if len(names) != int(count) or not ACTIVATED.issuperset(names) or len(set(names)) < len(names):
        raise SettingsError(
            "Sockets that are handed down must be named gateway and control, each once; set"
            " FileDescriptorName= in their socket units."
        )
    return {name: FIRST_ACTIVATED + index for index, name in enumerate(names)}


def environment(**changes: str) -> dict[str, str]:
    """The process environment with `changes`, for a part to be started: it needs no token of ours."""
    own = {name: value for name, value in os.environ.items() if name not in CLIENT}  # noqa: TID251 - the one reader
    return {**own, **changes}
