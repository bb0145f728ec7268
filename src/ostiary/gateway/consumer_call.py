"""One call of our own gateway from this machine, as a consumer makes it.

It goes to the gateway's listener and nowhere else: whoever asks for it names a path, never an
address. What comes back is bounded in size and in time.
"""

import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from ostiary.settings import Bind

#: Most bytes of an answer that are read.
LARGEST = 64 * 1024


class NoAnswer(Exception):
    """The gateway did not answer; the text is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Where the gateway listens; `certificate` is its own, if it speaks TLS."""

    bind: Bind
    certificate: Path | None
    #: It accepts only connections with a PROXY protocol header.
    proxy_protocol: bool = False

    @property
    def host(self) -> str:
        """An address of this machine at which it listens."""
        host = self.bind[0]
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - not bound

    @property
    def url(self) -> str:
        scheme = "https" if self.certificate else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.bind[1]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerCall:
    """A call: `target` is path and query, encoded; the headers are whole."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back. `address` is where the gateway saw the call come from."""

    status: int
    phrase: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    complete: bool
    milliseconds: float
    address: str


def call(listener: Listener, asked: ConsumerCall, *, seconds: float) -> Answer:
    """Make the call; raises NoAnswer after `seconds` without an answer."""
    timeout = httpx.Timeout(seconds, connect=5.0)
    began = time.monotonic()
    try:
        with (
            httpx.Client(
                transport=_transport(listener), trust_env=False, timeout=timeout
            ) as client,
            client.stream(
                asked.method,
                listener.url,
                headers=list(asked.headers),
                content=asked.body or None,
                # Send the path unchanged: the gateway must judge it, not httpx.
                extensions={"target": asked.target.encode()},
            ) as response,
        ):
            body, complete = _read(response, began + seconds)
            stream = response.extensions["network_stream"]
            return Answer(
                status=response.status_code,
                phrase=response.reason_phrase,
                headers=tuple(response.headers.multi_items()),
                body=body,
                complete=complete,
                milliseconds=(time.monotonic() - began) * 1000,
                address=str(stream.get_extra_info("client_addr")[0]),
            )
    except httpx.TimeoutException:
        raise NoAnswer(f"The gateway did not answer within {seconds:.0f} seconds.") from None
    except httpx.HTTPError:
        raise NoAnswer(f"The gateway does not answer at {listener.url}.") from None


class _Lined:
    """An httpx network backend that sends a PROXY protocol header (LOCAL) on each connection."""

    def __init__(self, network: Any) -> None:
        self._network = network

    def connect_tcp(self, *place: Any, **options: Any) -> Any:
        stream = self._network.connect_tcp(*place, **options)
        stream.write(b"PROXY UNKNOWN\r\n")
        return stream


def _transport(listener: Listener) -> httpx.HTTPTransport:
    transport = httpx.HTTPTransport(verify=_trusted(listener), trust_env=False)
    if listener.proxy_protocol:
        # httpx has no option for it.
        pool: Any = transport._pool  # noqa: SLF001 - httpx has no public way
        pool._network_backend = _Lined(pool._network_backend)  # noqa: SLF001 - httpx has no public way
    return transport


def _read(response: httpx.Response, deadline: float) -> tuple[bytes, bool]:
    """The beginning of a body, and whether it is complete."""
    body = bytearray()
    for part in response.iter_raw():
        body += part
        if len(body) > LARGEST or time.monotonic() > deadline:
            return bytes(body[:LARGEST]), False
    return bytes(body), True


def _trusted(listener: Listener) -> ssl.SSLContext | bool:
    """Trust in the gateway's own certificate alone, whatever names it is for."""
    if listener.certificate is None:
        return False
    context = ssl.create_default_context(cafile=str(listener.certificate))
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
