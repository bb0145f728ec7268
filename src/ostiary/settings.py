"""The only reader of the environment: what an operator may set, checked once, as one value.

Knows no Django and no part. A wrong value is one sentence that says what to do; an unknown
`OSTIARY_…` name is refused, so that a typing error never silently means the default.
"""

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

PREFIX = "OSTIARY_"
#: Set by the supervisor for the parts it starts: numbers of inherited sockets and pipes.
INHERITED_PREFIX = "OSTIARY_FD_"

#: A Unix socket's path has at most 107 bytes, and HAProxy first binds its own under such a name.
LONGEST_RUN = 107 - len("/haproxy.sock.4194304.tmp")

Bind = tuple[str, int]


class SettingsError(ValueError):
    """A setting that cannot be used; the text is one sentence for the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Where the directory lives: an SQLite file, or a PostgreSQL URL taken apart."""

    engine: str  # "sqlite" or "postgresql"
    name: str
    user: str = ""
    password: str = ""
    host: str = ""
    port: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    data: Path
    database_url: str | None
    recipes: Path
    gateway_bind: Bind
    control_bind: Bind
    certificate: Path | None
    secure_cookies: bool
    #: How the parts log: `json`, `text`, or empty for text on a terminal and JSON elsewhere.
    log_format: str
    #: Where traces are sent, the whole URL; empty: nowhere.
    otlp_endpoint: str
    #: Seconds after which a provider's keys are asked for again.
    key_set_seconds: int
    #: Calls a second of a gateway up to which each has a log line.
    log_rate: int

    @property
    def run(self) -> Path:
        """The folder of sockets, mode 0700: in the data folder, if they find room there."""
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
        raise SettingsError(f"{name}: {port} is no port number; use 1 to 65535.")
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


def _count(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise SettingsError(f"{name} must be a number of at least 1, not {text!r}.")
    return int(text)


def _choice(name: str, text: str) -> str:
    if text not in {"", "json", "text"}:
        raise SettingsError(f"{name} must be json or text, not {text!r}.")
    return text


#: Where an OTLP receiver takes traces (OTLP/HTTP specification).
TRACES_PATH = "/v1/traces"


def _endpoint(name: str, text: str) -> str:
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or "@" in parts.netloc:
        # Not repeated: it may hold a password.
        raise SettingsError(f"{name} must be a URL such as http://127.0.0.1:4318.")
    base = text.rstrip("/")
    return base if base.endswith(TRACES_PATH) else base + TRACES_PATH


NAMES = frozenset({
    "OSTIARY_DATA",
    "OSTIARY_DATABASE_URL",
    "OSTIARY_RECIPES",
    "OSTIARY_GATEWAY_BIND",
    "OSTIARY_CONTROL_BIND",
    "OSTIARY_CERTIFICATE",
    "OSTIARY_SECURE_COOKIES",
    "OSTIARY_KEY_SET_SECONDS",
    "OSTIARY_LOG_RATE",
    "OSTIARY_LOG_FORMAT",
    "OSTIARY_OTLP_ENDPOINT",
})  # fmt: skip


def load(environ: Mapping[str, str]) -> Settings:
    """Read every setting from `environ`; raises SettingsError with one sentence."""
    unknown = sorted(
        name
        for name in environ
        if name.startswith(PREFIX) and name not in NAMES and not name.startswith(INHERITED_PREFIX)
    )
    if unknown:
        raise SettingsError(f"There is no setting {unknown[0]}; unset it, or correct its name.")
    value = {name: environ[name] for name in NAMES if environ.get(name)}
    data = Path(value.get("OSTIARY_DATA", "ostiary-data")).absolute()
    recipes = value.get("OSTIARY_RECIPES")
    certificate = value.get("OSTIARY_CERTIFICATE")
    url = value.get("OSTIARY_DATABASE_URL")
    if url is not None:
        parse_database(url)
    return Settings(
        data=data,
        database_url=url,
        recipes=Path(recipes).absolute() if recipes else data / "recipes",
        gateway_bind=parse_bind(
            value.get("OSTIARY_GATEWAY_BIND", "127.0.0.1:8080"), "OSTIARY_GATEWAY_BIND"
        ),
        control_bind=parse_bind(
            value.get("OSTIARY_CONTROL_BIND", "127.0.0.1:8000"), "OSTIARY_CONTROL_BIND"
        ),
        certificate=Path(certificate).absolute() if certificate else None,
        secure_cookies=_flag("OSTIARY_SECURE_COOKIES", value.get("OSTIARY_SECURE_COOKIES", "0")),
        key_set_seconds=_count(
            "OSTIARY_KEY_SET_SECONDS", value.get("OSTIARY_KEY_SET_SECONDS", "300")
        ),
        log_rate=_count("OSTIARY_LOG_RATE", value.get("OSTIARY_LOG_RATE", "3200")),
        log_format=_choice("OSTIARY_LOG_FORMAT", value.get("OSTIARY_LOG_FORMAT", "")),
        otlp_endpoint=_endpoint("OSTIARY_OTLP_ENDPOINT", value.get("OSTIARY_OTLP_ENDPOINT", "")),
    )


@cache
def current() -> Settings:
    """The settings of this process, read once."""
    return load(os.environ)  # noqa: TID251 - the one reader


def adopt(**changes: str) -> Settings:
    """Change the process's environment, as options on the command line do, and read it anew."""
    os.environ.update(changes)  # noqa: TID251 - the one reader
    current.cache_clear()
    return current()


def inherited(name: str) -> int | None:
    """The number of an inherited socket or pipe that the supervisor named `name`."""
    text = os.environ.get(INHERITED_PREFIX + name.upper())  # noqa: TID251 - the one reader
    return int(text) if text else None


def environment(**changes: str) -> dict[str, str]:
    """The process environment with `changes`, for a part to be started."""
    return {**os.environ, **changes}  # noqa: TID251 - the one reader
