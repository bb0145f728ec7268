"""Checks of `ostiary doctor` that look at this machine: folder, disk, clock, ports, files, database."""

import contextlib
import ctypes
import os
import secrets
import shutil
import socket
import stat
import struct
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from ostiary.cli.checks.result import Finding, ok, problem, skipped, warning
from ostiary.cli.failure import Failure
from ostiary.cli.serving import certificate as certificates
from ostiary.cli.startup import data_folder, django_setup
from ostiary.settings import Settings

MB = 1024 * 1024
#: Free bytes below which readiness fails, and below which it is time to look.
LEAST_FREE, LITTLE_FREE = 100 * MB, 1024 * MB
#: Days before its end at which a certificate should have been renewed.
RENEWAL_DAYS = 14
#: Seconds that a name server has.
NAME_SECONDS = 3.0
#: Seconds that a database server has for a connection.
DATABASE_SECONDS = 5
RESOLV_CONF = Path("/etc/resolv.conf")
#: What adjtimex(2) returns when nothing keeps the clock.
TIME_ERROR = 5
#: Seconds by which what was written last may lie ahead of our clock.
AHEAD_SECONDS = 60


def folder_rights(settings: Settings) -> Iterator[Finding]:
    check, data = "data folder", settings.data
    if not data.exists():
        yield skipped(check, f"{data} is not there yet; the first start makes it.")
        return
    if not data.is_dir():
        yield problem(check, f"{data} is a file.", "Name a folder with --data.")
        return
    if not os.access(data, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        yield problem(check, f"{data} cannot be written by this user.", "Correct its owner.")
        return
    ring = data / django_setup.KEY_RING
    for path in (data, ring):
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            mode = "700" if path.is_dir() else "600"
            yield problem(check, f"{path} is open to other users.", f"Run: chmod {mode} {path}")
            return
    yield ok(check, f"No other user can read {data}.")


def disk_space(settings: Settings) -> Iterator[Finding]:
    check = "disk space"
    place = next(each for each in (settings.data, *settings.data.parents) if each.exists())
    free = shutil.disk_usage(place).free
    said = f"{free // MB:,} MB are free at {place}."
    if free < LEAST_FREE:
        yield problem(check, said, "Make room: changes and log lines are lost on a full disk.")
    elif free < LITTLE_FREE:
        yield warning(check, said, "Make room soon.")
    else:
        yield ok(check, said)


class _Timex(ctypes.Structure):
    """`struct timex` of adjtimex(2), of which nothing is read but that it is large enough."""

    _fields_ = (("modes", ctypes.c_uint), ("rest", ctypes.c_char * 300))


def clock(settings: Settings) -> Iterator[Finding]:
    check = "clock"
    newest = max((path.stat().st_mtime for path in _written(settings)), default=0.0)
    if newest > time.time() + AHEAD_SECONDS:
        then = datetime.fromtimestamp(newest, UTC)
        yield problem(
            check,
            f"The clock is behind what was written at {then:%Y-%m-%d %H:%M} UTC.",
            "Set the clock: limits, tokens and leases depend on it.",
        )
        return
    state = -1
    with contextlib.suppress(OSError, AttributeError):
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(_Timex(modes=0)))
    if state == TIME_ERROR:
        yield warning(
            check,
            "No time service keeps the clock.",
            "Run one, such as systemd-timesyncd or chrony.",
        )
    else:
        yield ok(check, f"It is {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.")


def _written(settings: Settings) -> Iterator[Path]:
    names = ("ostiary.sqlite3", "ostiary.sqlite3-wal", "status.json", django_setup.KEY_RING)
    return (path for name in names if (path := settings.data / name).exists())


def ports(settings: Settings) -> Iterator[Finding]:
    check = "ports"
    holder = data_folder.holder(settings)
    if holder is not None:
        yield ok(check, f"Ostiary runs on this data folder, as process {holder}.")
        return
    for option, bind in (("gateway", settings.gateway_bind), ("control", settings.control_bind)):
        try:
            data_folder.tcp_socket(bind, f"--{option}-bind").close()
        except Failure as failure:
            yield problem(check, str(failure), "")
            return
    yield ok(check, "Both ports are free.")


def nginx(settings: Settings) -> Iterator[Finding]:
    from ostiary.gateway import launch

    try:
        path, version = launch.find_nginx()
        modules = launch.find_modules()
    except launch.LaunchError as error:
        yield problem("nginx", f"{error}.".replace("..", "."), "")
        return
    shown = ".".join(map(str, version))
    yield ok("nginx", f"{path} is {shown}, and its Lua module is in {modules}.")


def console_certificate(settings: Settings) -> Iterator[Finding]:
    path = settings.console_certificate
    if path is None:
        yield skipped("console certificate", "The control port speaks plain HTTP.")
        return
    names = certificates.CONSOLE
    yield _certificate("console certificate", path, settings.console_key_file, names)


def gateway_certificate(settings: Settings) -> Iterator[Finding]:
    path = settings.certificate
    if path is None:
        yield skipped("gateway certificate", "The gateway speaks plain HTTP.")
        return
    names = ("OSTIARY_CERTIFICATE", "OSTIARY_CERTIFICATE")
    yield _certificate("gateway certificate", path, path, names)


def _certificate(check: str, path: Path, key: Path, settings: tuple[str, str]) -> Finding:
    certificates.context(path, key, settings)
    leaf = leaf_of(path)
    now, ends = datetime.now(UTC), leaf.not_valid_after_utc
    if leaf.not_valid_before_utc > now:
        begins = f"{leaf.not_valid_before_utc:%Y-%m-%d %H:%M}"
        return problem(check, f"It is valid from {begins} UTC on.", "Look at the clock.")
    said = f"It is for {', '.join(names_of(leaf)) or 'no name'}, and ends on {ends:%Y-%m-%d}."
    if ends < now:
        return problem(check, said, f"Renew {path}: browsers and consumers refuse it.")
    if ends < now + timedelta(days=RENEWAL_DAYS):
        return warning(check, said, f"Renew {path}.")
    return ok(check, said)


def leaf_of(path: Path) -> x509.Certificate:
    """The first certificate of a file: the server's own."""
    return x509.load_pem_x509_certificates(path.read_bytes())[0]


def names_of(leaf: x509.Certificate) -> list[str]:
    """Host names and addresses that a certificate is for."""
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = names.get_values_for_type(x509.IPAddress)
    return [*names.get_values_for_type(x509.DNSName), *map(str, addresses)]


def is_for(leaf: x509.Certificate, url: str) -> bool:
    """Whether a certificate is for a URL's host (RFC 9525, section 6.3)."""
    host = urlsplit(url).hostname or ""
    names = {name.lower() for name in names_of(leaf)}
    return host in names or f"*.{host.partition('.')[2]}" in names


def name_servers(settings: Settings) -> Iterator[Finding]:
    check = "name servers"
    try:
        lines = [line.split() for line in RESOLV_CONF.read_text().splitlines()]
    except OSError:
        lines = []
    servers = [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]
    if not servers:
        yield warning(
            check,
            f"{RESOLV_CONF} names none.",
            "Upstreams can be addresses only; name a server there.",
        )
        return
    silent = [server for server in servers if not _answers(server)]
    if not silent:
        yield ok(check, f"{', '.join(servers)} answered.")
    elif len(silent) < len(servers):
        said = f"{', '.join(silent)} did not answer within {NAME_SECONDS:.0f} seconds."
        yield warning(check, said, f"Correct {RESOLV_CONF}: each look-up may wait for it.")
    else:
        said = f"{', '.join(silent)} did not answer within {NAME_SECONDS:.0f} seconds."
        yield problem(check, said, f"Correct {RESOLV_CONF}: names of upstreams are not found.")


def _answers(server: str) -> bool:
    """Whether a name server answers at all, whatever it says (RFC 1035, section 4.1)."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    number = secrets.token_bytes(2)
    # One question: the addresses of localhost.
    query = (
        number + struct.pack("!HHHHH", 0x0100, 1, 0, 0, 0) + b"\x09localhost\x00\x00\x01\x00\x01"
    )
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.settimeout(NAME_SECONDS)
            sock.connect((server, 53))
            sock.send(query)
            return sock.recv(512)[:2] == number
    except OSError:
        return False


def database_server(settings: Settings) -> Iterator[Finding]:
    """Whether PostgreSQL takes us, in its own words: a pool of connections keeps them to itself."""
    check, place = "database server", settings.database
    if place.engine != "postgresql":
        yield skipped(check, "The directory is an SQLite file in the data folder.")
        return
    import psycopg

    try:
        with psycopg.connect(
            host=place.host or None, port=place.port or None, dbname=place.name,
            user=place.user or None, password=place.password or None,
            connect_timeout=DATABASE_SECONDS,
        ) as connection:  # fmt: skip
            version = connection.info.server_version
    except psycopg.Error as error:
        said = " ".join(str(error).split()).removeprefix("connection failed: ").rstrip(".")
        todo = "Correct OSTIARY_DATABASE_URL, or let the server take this user from here."
        yield problem(check, f"PostgreSQL cannot be reached: {said}.", todo)
        return
    yield ok(check, f"PostgreSQL {version // 10_000} answers as {place.user or 'this user'}.")


def database(settings: Settings) -> Iterator[Finding]:
    from ostiary.cli.startup import provisioning

    check, engine = "database", settings.database.engine
    missing = provisioning.missing_migrations()
    if missing and data_folder.holder(settings) is not None:
        todo = "Run `ostiary restart`, so that this release's tables are made."
        yield problem(check, f"It lacks {missing} migrations of this release.", todo)
    elif missing:
        yield ok(check, f"{engine} answers; the next start makes {missing} migrations.")
    else:
        yield ok(check, f"{engine} answers, and its tables are those of this release.")


def parts(settings: Settings) -> Iterator[Finding]:
    """What `/readyz` says, asked from here."""
    if data_folder.holder(settings) is None:
        yield skipped("parts", "Ostiary does not run.")
        return
    from ostiary.operations import readiness

    bad = {name: state.said for name, state in readiness.check().items() if not state.ok}
    for name, said in bad.items():
        yield problem("parts", f"{name}: {said}", "See docs/how-to/monitor.md.")
    if not bad:
        yield ok("parts", "Every part can do its work.")
