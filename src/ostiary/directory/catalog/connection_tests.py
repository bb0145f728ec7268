"""Tests of a connection: DNS, TCP, TLS and HTTP one after another, with the time and the remedy of each.

A test sends one GET without any credential, and follows no redirect. It goes only to addresses that a
connection may have.
"""

import enum
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

from ostiary.access.addresses import unmapped
from ostiary.directory.actor import Actor, Role
from ostiary.directory.catalog import connections, upstream_url
from ostiary.directory.catalog.upstream_url import UpstreamUrl
from ostiary.directory.changes.permission import require

#: Seconds that each step may take.
PATIENCE = 5.0
#: Bytes of an answer that are read at most: its status line is enough.
MOST_BYTES = 4096
#: Servers of one connection that are tested at most, so that a page is not waited for too long.
MOST_SERVERS = 3

_T = TypeVar("_T")
_STATUS = re.compile(rb"HTTP/\d(?:\.\d)? (\d{3})\b")


class ConnectionStep(enum.StrEnum):
    DNS = "DNS"
    TCP = "TCP"
    TLS = "TLS"
    HTTP = "HTTP"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinding:
    """What one step found. `remedy` is empty where there is nothing to do."""

    step: ConnectionStep
    good: bool
    milliseconds: int
    detail: str
    remedy: str = ""
    #: It failed because the certificate is not trusted.
    untrusted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TestedServer:
    """The steps of one server up to the first that failed."""

    url: str
    findings: tuple[StepFinding, ...]

    @property
    def good(self) -> bool:
        return all(each.good for each in self.findings)


class _StepFailed(Exception):
    def __init__(self, detail: str, remedy: str, *, untrusted: bool = False) -> None:
        super().__init__(detail)
        self.detail, self.remedy, self.untrusted = detail, remedy, untrusted


def of(by: Actor, connection_id: int) -> tuple[TestedServer, ...]:
    """Test the servers of a stored connection; raises NotFound, Forbidden."""
    connection = connections.find(by, connection_id)
    require(by, Role.EDITOR, connection.project_id)
    trust = _trust(verify=connection.verify_tls, ca_pem=connection.ca_pem)
    return tuple(
        _tested_stored(url, trust, connection.health_path)
        for url in connection.base_urls[:MOST_SERVERS]
    )


def _tested_stored(text: str, trust: ssl.SSLContext, path: str) -> TestedServer:
    """Test a server, unless it is one that no connection may have by now."""
    try:
        url = upstream_url.parse(text, connections.own_listeners())
    except upstream_url.BadUrl as error:
        refused = StepFinding(
            step=ConnectionStep.DNS, good=False, milliseconds=0, detail=f"The URL {error}.",
            remedy="Correct the base URL of the connection.",
        )  # fmt: skip
        return TestedServer(url=text, findings=(refused,))
    return _tested(url, trust, path)


def of_url(text: str, ca_pem: str = "") -> TestedServer:
    """Test a base URL that no connection has yet; raises upstream_url.BadUrl."""
    url = upstream_url.parse(text.strip(), connections.own_listeners())
    return _tested(url, _trust(verify=True, ca_pem=ca_pem), "")


def _trust(*, verify: bool, ca_pem: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=ca_pem or None)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _tested(url: UpstreamUrl, trust: ssl.SSLContext, path: str) -> TestedServer:
    findings: list[StepFinding] = []

    def step(name: ConnectionStep, do: Callable[[], tuple[_T, str, str]]) -> _T | None:
        started = time.monotonic()
        value, good, untrusted = None, True, False
        try:
            value, detail, remedy = do()
        except _StepFailed as failed:
            good, detail, remedy = False, failed.detail, failed.remedy
            untrusted = failed.untrusted
        took = round((time.monotonic() - started) * 1000)
        findings.append(
            StepFinding(
                step=name,
                good=good,
                milliseconds=took,
                detail=detail,
                remedy=remedy,
                untrusted=untrusted,
            )
        )
        return value

    address = step(ConnectionStep.DNS, lambda: _resolved(url))
    plain = address and step(ConnectionStep.TCP, lambda: _connected(url, address))
    if plain:
        with closing(plain):
            channel = (
                step(ConnectionStep.TLS, lambda: _secured(url, plain, trust))
                if url.is_tls
                else plain
            )
            if channel:
                with closing(channel):
                    if not url.is_grpc:
                        step(ConnectionStep.HTTP, lambda: _answered(url, channel, path))
    return TestedServer(url=str(url), findings=tuple(findings))


def _resolved(url: UpstreamUrl) -> tuple[str, str, str]:
    found: list[str] = []
    problem: list[OSError] = []

    def ask() -> None:
        try:
            entries = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
            found.extend(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in entries))
        except OSError as error:
            problem.append(error)

    # The system's resolver cannot be stopped, so nobody waits for it longer than this.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    if not found:
        said = problem[0].strerror if problem else f"no answer in {PATIENCE:.0f} seconds"
        raise _StepFailed(
            f"The name {url.host} has no address: {said}.",
            "Correct the host name, or the DNS server of the machine that runs Ostiary.",
        )
    allowed = [
        each
        for each in found
        if not upstream_url.refused_address(unmapped(ipaddress.ip_address(each)))
    ]
    if not allowed:
        raise _StepFailed(
            f"{url.host} leads to an address that no connection may have.",
            "Use a host that is not a link-local, multicast or metadata address.",
        )
    return allowed[0], f"{url.host} is {', '.join(allowed[:3])}.", ""


def _connected(url: UpstreamUrl, address: str) -> tuple[socket.socket, str, str]:
    try:
        channel = socket.create_connection((address, url.port), PATIENCE)
    except ConnectionRefusedError:
        raise _StepFailed(
            f"Nothing listens on port {url.port} of {address}.",
            "Start your API, or correct the port.",
        ) from None
    except TimeoutError:
        raise _StepFailed(
            f"{address} did not accept a connection on port {url.port} in {PATIENCE:.0f} seconds.",
            "A firewall may drop the connection: allow this machine, or correct the address.",
        ) from None
    except OSError as error:
        raise _StepFailed(
            f"{address} can't be reached on port {url.port}: {error.strerror or error}.",
            "Check the address and the route to it.",
        ) from None
    return channel, f"Connected to port {url.port} of {address}.", ""


def _secured(
    url: UpstreamUrl, plain: socket.socket, trust: ssl.SSLContext
) -> tuple[socket.socket, str, str]:
    try:
        channel = trust.wrap_socket(plain, server_hostname=url.host)
    except ssl.SSLCertVerificationError as error:
        raise _StepFailed(
            f"The certificate is not trusted: {error.verify_message.rstrip('.')}.",
            "Give the connection the certificate authority that signed it, or renew the certificate.",
            untrusted=True,
        ) from None
    except (OSError, ValueError):
        raise _StepFailed(
            "The server did not complete a TLS handshake.",
            "If it speaks plain HTTP, begin the URL with http://.",
        ) from None
    return (
        channel,
        f"{channel.version()} with a trusted certificate."
        if (trust.verify_mode is ssl.CERT_REQUIRED)
        else f"{channel.version()}; the certificate was not verified.",
        "",
    )


def _answered(url: UpstreamUrl, channel: socket.socket, path: str) -> tuple[int, str, str]:
    target = f"{url.base_path}{path}" or "/"
    request = f"GET {target} HTTP/1.1\r\nHost: {url.host_header}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    line = _status_line(channel, request.encode())
    found = _STATUS.match(line)
    if found is None:
        raise _StepFailed(
            "The server's answer is not HTTP/1.1.",
            "Check the port, and whether it expects https:// or HTTP/2 only.",
        )
    status = int(found[1])
    said = f"GET {target} answered {status}."
    if status >= 500:
        raise _StepFailed(said, "The API itself fails: look into its log.")
    return status, said, _remark(status)


def _remark(status: int) -> str:
    if status in {401, 403}:
        return "The test sends no credential. Requests of consumers get the one of the connection."
    if status in {404, 405}:
        return "That is fine if your API has nothing at this path."
    if 300 <= status < 400:
        return "It redirects. If that is to https://, use that address as the base URL."
    return ""


def _status_line(channel: socket.socket, request: bytes) -> bytes:
    ends = time.monotonic() + PATIENCE
    got = b""
    try:
        channel.sendall(request)
        while b"\n" not in got and len(got) < MOST_BYTES:
            channel.settimeout(max(0.01, ends - time.monotonic()))
            part = channel.recv(MOST_BYTES)
            if not part:
                break
            got += part
    except TimeoutError:
        raise _StepFailed(
            f"The server did not answer in {PATIENCE:.0f} seconds.",
            "Look at the load and the log of your API.",
        ) from None
    except OSError as error:
        raise _StepFailed(
            f"The server closed the connection: {error.strerror or error}.",
            "If it expects TLS, begin the URL with https://.",
        ) from None
    return got
